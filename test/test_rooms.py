"""The rooms of the package and which way imports may point, by reading and by trying."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / 'karpathy_control'
NAME = PACKAGE.name

ROS = ('rclpy', 'rcl_interfaces', 'builtin_interfaces', 'lifecycle_msgs', 'std_msgs', 'std_srvs',
       'geometry_msgs', 'nav_msgs', 'sensor_msgs', 'diagnostic_msgs', 'visualization_msgs',
       'rosgraph_msgs', 'tf2_msgs', 'tf2_ros', 'nav2_msgs', 'unique_identifier_msgs',
       'ament_index_python', 'launch', 'launch_ros', 'rosidl_runtime_py')

ROOMS = ('contracts', 'compute', 'mapping', 'sensing', 'perception', 'policy', 'control', 'worlds',
         'bags', 'viewing', 'measuring')
TOOLS = ('learning', 'evaluation', 'bringup', 'cli')  # may use each other
ALLOWED = {
    'contracts': set(),
    'compute': {'contracts'},
    'mapping': {'contracts'},
    'sensing': {'contracts', 'mapping'},
    'perception': {'contracts', 'compute', 'mapping'},
    'policy': {'contracts', 'compute', 'mapping'},
    'control': {'contracts', 'mapping'},
    'worlds': {'contracts', 'mapping'},
    'bags': {'contracts'},
    'viewing': {'contracts'},
    'measuring': {'contracts', 'worlds'},
    **{tool: {*ROOMS, *TOOLS} for tool in TOOLS},
    'nodes': {*ROOMS, 'bringup'},  # of bringup only what a process needs of its surroundings
}
NEVER = {  # room -> top-level modules that it may not import, whatever it takes to avoid it
    'contracts': ('torch', 'numba', 'scipy', 'cv2', 'mujoco'),
    'mapping': ('torch',),
    'control': ('torch',),
    'worlds': ('torch',),
    'bags': ('torch', 'numba', 'mujoco'),
    'viewing': ('torch', 'numba', 'mujoco'),
    'measuring': ('torch', 'numba', 'mujoco'),
}


def files():
    return sorted(path for path in PACKAGE.rglob('*.py'))


def room_of(path):
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else path.stem


def imports(path):
    """Every imported module as a dotted name, function-level imports included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{path}: relative import'
            yield node.module
            if node.module == NAME:
                yield from (f'{NAME}.{alias.name}' for alias in node.names)


@pytest.mark.parametrize('path', files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    room = room_of(path)
    if room == '__init__':
        assert not list(imports(path))
        return
    for module in imports(path):
        top, *rest = module.split('.')
        if top == NAME and rest:
            assert rest[0] == room or rest[0] in ALLOWED[room], f'{room} imports {module}'
            if room == 'nodes' and rest[0] == 'bringup':
                assert rest[1:] in (['resources'], ['environment'], ['dds'], ['robots']), (
                    f'nodes imports {module}')
        if room != 'nodes':
            assert top not in ROS, f'{room} imports {module}'
        assert top not in NEVER.get(room, ()), f'{room} imports {module}'


def test_every_folder_is_a_known_room():
    folders = {path.name for path in PACKAGE.iterdir()
               if path.is_dir() and any(path.glob('*.py'))}
    assert folders == set(ALLOWED) - {'cli'}


PROGRAM = '''
import importlib, pkgutil, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in BLOCKED:
            raise ModuleNotFoundError(f'{name} is blocked', name=name)

BLOCKED, ROOMS = (word.split(',') for word in sys.argv[1:3])
sys.meta_path.insert(0, Blocker())
for room in ROOMS:
    module = importlib.import_module(f'karpathy_control.{room}')
    for found in pkgutil.walk_packages(getattr(module, '__path__', []), f'{module.__name__}.'):
        if not found.name.endswith('.__main__'):
            importlib.import_module(found.name)
assert not set(BLOCKED) & set(sys.modules)
'''


@pytest.mark.parametrize(('blocked', 'rooms'), [
    (ROS, (*ROOMS, *TOOLS)),
    (('torch', *ROS), ('control', 'mapping', 'worlds')),
    (NEVER['contracts'], ('contracts',)),
], ids=['all-without-ros', 'gate-without-torch', 'contracts-with-numpy-and-yaml-alone'])
def test_rooms_import_with_modules_blocked(blocked, rooms):
    done = subprocess.run([sys.executable, '-c', PROGRAM, ','.join(blocked), ','.join(rooms)],
                          capture_output=True, text=True, cwd=PACKAGE.parent, check=False)
    assert done.returncode == 0, done.stderr


FORBIDDEN_CALLS = {'eval', 'exec', 'compile', '__import__', 'yaml.load',
                   'yaml.unsafe_load', 'yaml.full_load', 'torch.load', 'os.system', 'os.popen'}
FORBIDDEN_MODULES = {'pickle', 'cPickle', 'marshal', 'shelve', 'dill', 'cloudpickle', 'joblib'}


def tree():
    """Every Python file of the repository, tests and this one included."""
    root = PACKAGE.parent
    return sorted([root / 'setup.py', *files(), *(
        path for top in ('benchmarks', 'launch', 'test') for path in (root / top).rglob('*.py'))])


@pytest.mark.parametrize('path', tree(), ids=lambda p: str(p.relative_to(PACKAGE.parent)))
def test_no_call_that_runs_what_a_file_says(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in FORBIDDEN_CALLS, f'{path}:{node.lineno}: {called}'
            shell = [k for k in node.keywords if k.arg == 'shell']
            assert not shell, f'{path}:{node.lineno}: {called} through a shell'
            pickles = [k for k in node.keywords if k.arg == 'allow_pickle' and not (
                isinstance(k.value, ast.Constant) and k.value.value is False)]
            assert not pickles, f'{path}:{node.lineno}: {called} with pickles'
    assert not FORBIDDEN_MODULES & {module.split('.')[0] for module in imports(path)}
