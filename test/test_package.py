"""The package as a ROS 2 host sees it: manifest, scripts, data files, requirement files."""

import ast
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NAME = 'karpathy_control'

# As catkin_pkg checks it; where it does not match, colcon silently builds a plain Python package.
EMAIL = re.compile(r'[-a-zA-Z0-9_%+]+(\.[-a-zA-Z0-9_%+]+)*@[-a-zA-Z0-9%]+(\.[-a-zA-Z0-9%]+)*'
                   r'\.[a-zA-Z]{2,}')


@pytest.fixture(scope='module')
def manifest():
    return ET.parse(ROOT / 'package.xml').getroot()


def setup_output(*words):
    done = subprocess.run([sys.executable, 'setup.py', '--quiet', *words], cwd=ROOT,
                          capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_manifest_is_one_that_colcon_takes_for_ament_python(manifest):
    assert manifest.tag == 'package' and manifest.attrib['format'] == '3'
    assert manifest.findtext('name') == NAME
    assert re.fullmatch(r'\d+\.\d+\.\d+', manifest.findtext('version'))
    assert manifest.findtext('export/build_type') == 'ament_python'
    assert EMAIL.fullmatch(manifest.find('maintainer').attrib['email'])
    assert manifest.findtext('license') == 'Apache-2.0'
    depends = [e.text for e in manifest if e.tag.endswith('depend')]
    assert len(depends) == len(set(depends))


def test_manifest_names_every_ros_package_that_the_code_imports(manifest):
    depends = {e.text for e in manifest if e.tag.endswith('depend')}
    used = set()
    for path in [*(ROOT / NAME / 'nodes').glob('*.py'), *(ROOT / 'launch').glob('*.py')]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                used.add(node.module.split('.')[0])
            elif isinstance(node, ast.Import):
                used.update(alias.name.split('.')[0] for alias in node.names)
    ros = {name for name in used if name.endswith(('_msgs', '_srvs', '_interfaces', '_ros'))
           or name in ('rclpy', 'launch', 'ament_index_python')}
    guarded = {'nav2_msgs', 'tf2_ros'}  # used where they are installed
    assert ros - guarded <= depends


def test_setup_agrees_with_the_manifest(manifest):
    assert setup_output('--name').replace('-', '_') == NAME
    assert setup_output('--version') == manifest.findtext('version')
    assert setup_output('--license') == manifest.findtext('license')
    assert (ROOT / 'resource' / NAME).is_file()
    assert 'Apache License' in (ROOT / 'LICENSE').read_text()


def test_every_console_script_has_a_main():
    tree = ast.parse((ROOT / 'setup.py').read_text())
    (nodes,) = [ast.literal_eval(node.value) for node in tree.body
                if isinstance(node, ast.Assign) and node.targets[0].id == 'NODES']
    for path in [ROOT / NAME / 'cli.py', *(ROOT / NAME / 'nodes' / f'{n}.py' for n in nodes)]:
        functions = {n.name for n in ast.parse(path.read_text()).body
                     if isinstance(n, ast.FunctionDef)}
        assert 'main' in functions, path


def test_scripts_go_where_ros2_run_looks():
    text = (ROOT / 'setup.cfg').read_text()
    assert f'install_scripts=$base/lib/{NAME}' in text


def test_shared_files_are_installed(tmp_path):
    setup_output('install_data', f'--install-dir={tmp_path}')
    share = tmp_path / 'share' / NAME
    assert (tmp_path / 'share/ament_index/resource_index/packages' / NAME).is_file()
    assert (share / 'package.xml').is_file()
    for folder in ('launch', 'config', 'description', 'worlds', 'weights'):
        here = {p.relative_to(ROOT) for p in (ROOT / folder).rglob('*')
                if p.is_file() and '__pycache__' not in p.parts}
        there = {p.relative_to(share) for p in (share / folder).rglob('*') if p.is_file()}
        assert here == there, folder


@pytest.mark.skipif(shutil.which('colcon') is None, reason='colcon is not installed')
def test_colcon_sees_an_ament_python_package(tmp_path):
    done = subprocess.run(['colcon', '--log-base', str(tmp_path), 'list', '--base-paths', ROOT],
                          capture_output=True, text=True, check=True)
    assert done.stdout.split()[::2] == [NAME, '(ros.ament_python)']


def requirement_lines(path):
    return [line for line in path.read_text().splitlines() if line and not line.startswith('#')]


@pytest.mark.parametrize('path', sorted([*ROOT.glob('requirements*.txt'),
                                         *ROOT.glob('constraints*.txt')]), ids=lambda p: p.name)
def test_requirement_files_hold_names_and_versions_alone(path):
    for line in requirement_lines(path):
        assert re.fullmatch(r'[A-Za-z0-9._-]+((==|>=|<=|<|>)[0-9a-z.*]+)?', line), line


def test_everything_required_is_pinned():
    def key(line):
        return re.split('[=<>]', line)[0].lower().replace('_', '-').replace('.', '-')

    pinned = {key(line) for line in requirement_lines(ROOT / 'constraints.txt') if '==' in line}
    for name in ('requirements.txt', 'requirements-dev.txt', 'requirements-ros.txt'):
        assert {key(line) for line in requirement_lines(ROOT / name)} <= pinned
