"""Build of the ament_python package; `colcon build` and `pip install -e .` both come here."""

from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = 'karpathy_control'
SHARED = ('launch', 'config', 'description', 'worlds', 'weights')
NODES = ('sensor', 'perception', 'policy', 'control', 'sim', 'base_guard', 'pipeline', 'observer',
         'probe')


def shared_files() -> list[tuple[str, list[str]]]:
    """Every file of the shared folders, with its place below share/karpathy_control."""
    folders: dict[str, list[str]] = {}
    for top in SHARED:
        for path in sorted(Path(top).rglob('*')):
            if path.is_file() and '__pycache__' not in path.parts:
                folders.setdefault(f'share/{PACKAGE}/{path.parent}', []).append(str(path))
    return list(folders.items())


setup(
    name=PACKAGE,
    version='0.1.0',
    packages=find_packages(include=[PACKAGE, f'{PACKAGE}.*']),
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{PACKAGE}']),
        (f'share/{PACKAGE}', ['package.xml']),
        *shared_files(),
    ],
    python_requires='>=3.10',
    install_requires=['setuptools'],
    extras_require={'test': ['pytest'], 'baselines': ['pytorch_mppi>=0.9'],
                    'export': ['pyarrow']},
    zip_safe=True,
    maintainer='karpathy_control maintainers',
    maintainer_email='maintainers@karpathy-control.example',
    description='A robot that learns to drive itself: encoder, reinforcement-learned policy and '
                'a safety gate, as ROS 2 nodes',
    license='Apache-2.0',
    entry_points={
        'console_scripts': [
            *(f'{name} = {PACKAGE}.nodes.{name}:main' for name in NODES),
            f'karpathy-control = {PACKAGE}.cli:main',
        ],
    },
)
