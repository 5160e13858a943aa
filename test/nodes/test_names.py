"""No attribute of a node hides one of rclpy's: `self._clock = ...` would break its time."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import karpathy_control.nodes

pytest.importorskip('rclpy', reason='needs rclpy')
FOLDER = Path(karpathy_control.nodes.__file__).parent
ALLOWED = {'on_activate', 'on_cleanup', 'on_configure', 'on_deactivate', 'on_shutdown'}
NAMES = """
import rclpy
from rclpy.lifecycle import LifecycleNode
rclpy.init()
node = LifecycleNode('names')
print(*(set(vars(node)) | set(dir(LifecycleNode))))
"""


def test_no_attribute_hides_one_of_rclpy():
    done = subprocess.run([sys.executable, '-c', NAMES], capture_output=True, text=True,
                          check=True)
    taken = set(done.stdout.split())
    assert '_clock' in taken
    for path in FOLDER.glob('*.py'):
        text = path.read_text()
        own = set(re.findall(r'^        self\.(\w+)(?:: [^=\n]+)? = ', text, re.M))
        own |= set(re.findall(r'^    def (\w+)\(self', text, re.M))
        clash = {n for n in own & taken if not n.startswith('__')} - ALLOWED
        assert not clash, f'{path.name}: {sorted(clash)}'
