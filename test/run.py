"""All checks in order: lint, types, coverage, unit tests, ROS graph tests; a last line of JSON.

    python test/run.py [PYTEST ARGUMENTS]     with arguments only pytest runs
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from pathlib import Path

from karpathy_control.bringup.environment import environment

ROOT = Path(__file__).resolve().parents[1]
NO_TESTS = 5  # pytest's exit status when nothing was selected


def run(command: list[str]) -> int:
    print('$', ' '.join(command), flush=True)
    return subprocess.run(command, cwd=ROOT, check=False,
                          env={**os.environ, **environment('local')}).returncode


def pytest(arguments: list[str]) -> tuple[int, dict[str, int]]:
    """Run pytest; its exit status and the counts of its summary."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / 'report.xml'
        status = run([sys.executable, '-m', 'pytest', '-q', '--durations=10',
                      f'--junitxml={report}', *arguments])
        counts = {'tests': 0, 'failures': 0, 'errors': 0, 'skipped': 0}
        if report.is_file():
            for suite in ET.parse(report).getroot().iter('testsuite'):
                for name in counts:
                    counts[name] += int(suite.attrib.get(name, 0))
    return (0 if status == NO_TESTS else status), counts


def main(arguments: list[str]) -> int:
    start = time.monotonic()
    tools = Path(sys.executable).parent
    failed_checks: list[str] = []
    if not arguments:
        for name, command in (('lint', [str(tools / 'ruff'), 'check', '.']),
                              ('types', [str(tools / 'mypy')]),
                              ('coverage', ['make', '--no-print-directory', 'coverage'])):
            if run(command):
                failed_checks.append(name)
    runs = [arguments] if arguments else [['-m', 'not ros'], ['-m', 'ros']]
    total = {'tests': 0, 'failures': 0, 'errors': 0, 'skipped': 0}
    status = 1 if failed_checks else 0
    for selection in runs:
        code, counts = pytest(selection)
        status = status or code
        for name, count in counts.items():
            total[name] += count
    failed = total['failures'] + total['errors']
    print(json.dumps({
        'passed': total['tests'] - failed - total['skipped'], 'failed': failed,
        'skipped': total['skipped'], 'failed_checks': failed_checks,
        'seconds': round(time.monotonic() - start, 1)}))
    return status


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
