"""`karpathy-control doctor`: what this machine has and lacks, each finding with its cure."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from karpathy_control.bringup.dds import (
    PROFILES,
    check_profile,
    opened,
    profile_file,
    refusal,
)
from karpathy_control.bringup.environment import environment
from karpathy_control.bringup.parameters import read_parameters
from karpathy_control.bringup.plan import enclave
from karpathy_control.bringup.resources import find, share
from karpathy_control.bringup.robots import load_profile, robot_of
from karpathy_control.bringup.shared_memory import abandoned, size
from karpathy_control.contracts.card import WeightsError, verify_weights
from karpathy_control.contracts.config import NODE_CONFIGS, ConfigError, rate_of
from karpathy_control.contracts.config.core import Value

SEGMENT_BYTES = 9_000_000  # shared memory of one participant under the shipped profiles
PARTICIPANTS = 8  # five nodes, and room for tools
MIN_FREE_DISK = 1_000_000_000  # bytes, for logs and reports
# Distribution names as pip knows them; None where a ROS host has it by other means.
REQUIRED = ('numpy', 'scipy', 'numba', 'torch', 'safetensors', 'PyYAML', 'rich')
MODULES = {'rclpy': 'ros-kilted-rclpy, or a sourced ROS 2 installation', 'cv2': 'opencv',
           'mujoco': 'mujoco-core (world:=mujoco only)', 'xacro': 'xacro',
           'onnxruntime': 'onnxruntime (or perception runtime: torch)',
           'onnx': 'onnx (or perception runtime: torch)'}
OF_A_SIMULATION = ('sim', 'base_guard')  # a robot runs without them
SIMULATED = ('/clock', 'sim/ground_truth', 'base/cmd_vel')  # and nobody writes these there
SECURITY = ('ROS_SECURITY_KEYSTORE', 'ROS_SECURITY_STRATEGY', 'ROS_SECURITY_ENCLAVE_OVERRIDE')
ENCLAVE_FILES = tuple(f'/{name}' for name in (
    'cert.pem', 'key.pem', 'identity_ca.cert.pem', 'permissions_ca.cert.pem', 'governance.p7s',
    'permissions.p7s'))
PARTICIPANT = ('import rclpy; rclpy.init(); node = rclpy.create_node("doctor"); '
               'node.destroy_node(); rclpy.shutdown()')


@dataclass(frozen=True)
class Check:
    """One finding. `cure` is empty where nothing is wrong."""

    name: str
    ok: bool
    detail: str
    cure: str = ''


def check_python() -> Check:
    """The interpreter and the packages it must have."""
    missing, found = [], []
    for name in REQUIRED:
        try:
            found.append(f'{name} {importlib.metadata.version(name)}')
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    for module, source in MODULES.items():
        if importlib.util.find_spec(module) is None:
            missing.append(f'{module} ({source})')
    detail = f'Python {platform.python_version()}, {", ".join(found)}'
    if missing:
        return Check('versions', False, f'{detail}; missing: {", ".join(missing)}',
                     'make venv; on a ROS host: pip install -r requirements-ros.txt -c '
                     'constraints-ros.txt')
    return Check('versions', True, detail)


def check_dds(profile: str, base: Mapping[str, str]) -> Check:
    """Whether the profile file is one that Fast DDS accepts, by asking Fast DDS."""
    name = 'dds_profile'
    if base.get('RMW_IMPLEMENTATION', 'rmw_fastrtps_cpp') != 'rmw_fastrtps_cpp':
        return Check(name, True, f'{base["RMW_IMPLEMENTATION"]} is set: its settings are yours')
    cure = ('repair the file, or unset FASTDDS_DEFAULT_PROFILES_FILE to use the shipped ones '
            f'({", ".join(PROFILES)})')
    try:
        values = environment(profile, base)
        own = base.get('FASTDDS_DEFAULT_PROFILES_FILE')
        path = Path(own) if own else profile_file(profile)
        if path is not None:
            check_profile(path)
    except ConfigError as error:
        return Check(name, False, str(error), cure)
    try:
        tried = subprocess.run([sys.executable, '-c', PARTICIPANT], env={**base, **values},
                               capture_output=True, text=True, timeout=30, check=False)
    except subprocess.TimeoutExpired:
        return Check(name, False, 'a participant did not start within 30 s',
                     'see shared_memory; remove stale /dev/shm/fastdds_* while no node runs')
    said = [text for text in map(refusal, tried.stderr.splitlines()) if text]
    if said or tried.returncode:
        last = said[0] if said else (tried.stderr.strip().splitlines() or ['no output'])[-1]
        return Check(name, False, f'{path}: {last}', cure)
    return Check(name, True, f'{profile}: {path or "defaults of Fast DDS"}, accepted')


def check_shared_memory(folder: Path = Path('/dev/shm')) -> Check:
    """Room for the segments of all participants."""
    need = SEGMENT_BYTES * PARTICIPANTS
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        return Check('shared_memory', False, f'{folder} is not a writable folder',
                     'mount a tmpfs there; in a container: --ipc=host or --shm-size=1g')
    usage = shutil.disk_usage(folder)
    left = abandoned(folder)
    detail = (f'{usage.free / 1e6:.0f} of {usage.total / 1e6:.0f} MB free in {folder}, of which '
              f'{len(left)} files of dead nodes hold {size(left) / 1e6:.0f}; the loop takes '
              f'{need / 1e6:.0f} MB')
    if usage.free < need:
        return Check('shared_memory', False, detail,
                     'in a container: --shm-size=1g; remove what killed nodes left '
                     '(fastdds shm clean, or /dev/shm/fastdds_* while no node runs)')
    return Check('shared_memory', True, detail)


def check_device(device: str) -> Check:
    """The torch device that perception and policy are told to use."""
    try:
        import torch
    except ImportError as error:
        return Check('device', False, f'torch: {error}', 'make venv')
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    detail = f'{device} asked for; torch {torch.__version__}, {count} CUDA devices'
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, ValueError) as error:
        return Check('device', False, f'{detail}: {str(error).splitlines()[0]}',
                     'device:=cpu, or install the driver and a torch built for it')
    return Check('device', True, detail)


def check_weights(kind: str, name: str) -> Check:
    """A weight file against its card and the layout of this code."""
    try:
        path = find('weights', name)
        card = verify_weights(path, kind)
    except (WeightsError, FileNotFoundError) as error:
        return Check(f'weights_{kind}', False, str(error),
                     'git checkout -- weights, or karpathy-control train '
                     + ('policy' if kind == 'actor' else kind))
    size = path.stat().st_size / 1e6
    return Check(f'weights_{kind}', True, f'{path}: {size:.1f} MB, layout {card.layout_hash}')


def check_novelty(name: str) -> Check:
    """The statistics beside an encoder with which perception tells what is strange to it."""
    try:
        import torch

        from karpathy_control.perception.novelty import Novelty, beside

        weights = find('weights', name)
    except (ImportError, FileNotFoundError) as error:
        return Check('weights_novelty', False, str(error), 'cure what is said of weights_encoder')
    problem = Novelty(weights, torch.device('cpu')).problem
    if problem:
        return Check('weights_novelty', False,
                     f'{problem}; until then no entity is marked unsure for a strange picture',
                     f'karpathy-control train novelty --weights {weights}')
    return Check('weights_novelty', True, str(beside(weights)))


def check_robot(name: str) -> Check:
    """The profile as a whole, above all the command timeout of the base."""
    try:
        profile = load_profile(name)
        profile.require_verified()
    except ConfigError as error:
        return Check('robot', False, str(error),
                     'state and verify what is missing in the profile; see config/robots')
    return Check('robot', True, f'{profile.name}: the base stops {profile.command_timeout:g} s '
                 f'after the last cmd_vel. {profile.command_timeout_verified_by}')


def check_host_tools() -> Check:
    """What only a ROS installation brings; nothing of it is needed to drive."""
    parts = {name: importlib.util.find_spec(name) is not None
             for name in ('tf2_msgs', 'tf2_ros', 'nav2_msgs', 'launch_ros')}
    parts['rviz2'] = shutil.which('rviz2') is not None
    absent = [name for name, there in parts.items() if not there]
    consequence = '; no TF is published without tf2_msgs' if 'tf2_msgs' in absent else ''
    return Check('host_tools', True, ('not installed here: ' + ', '.join(absent) + consequence
                                      if absent else 'all there'))


def check_disk(folder: Path = Path()) -> Check:
    """Room for logs and reports."""
    free = shutil.disk_usage(folder).free
    detail = f'{free / 1e9:.1f} GB free in {folder.absolute()}'
    if free < MIN_FREE_DISK:
        return Check('disk', False, detail, 'free some space, or run in another folder')
    return Check('disk', True, detail)


def check_sockets(profile: str, base: Mapping[str, str]) -> Check:
    """What the loop opens to others under this profile."""
    try:
        return Check('sockets', True, f'{profile}: {opened(profile, base)}')
    except ConfigError as error:
        return Check('sockets', False, str(error), 'repair or unset what is named')


def check_security(base: Mapping[str, str], processes: Sequence[str] = ()) -> Check:
    """DDS security that was asked for but is off or partial: rcl itself says nothing of it.

    rcl takes the exact words `true` and `Enforce` alone. `processes` are the enclaves needed.
    """
    enable = base.get('ROS_SECURITY_ENABLE', '')
    signs = sorted(name for name in SECURITY if base.get(name))
    if enable != 'true':
        if enable in ('', 'false') and not signs:
            return Check('security', True, 'not asked for')
        why = (f'ROS_SECURITY_ENABLE is {enable!r}' if enable not in ('', 'false') else
               f'{", ".join(signs)} set, but ROS_SECURITY_ENABLE is {enable!r}')
        return Check('security', False, f'asked for, but off: {why}',
                     'ROS_SECURITY_ENABLE=true exactly; or unset all ROS_SECURITY_*')
    if base.get('_ROS_WHEELS_BOOTSTRAP_COMPLETE') == '1':
        return Check('security', False, 'asked for, but these ROS wheels are built without it',
                     'use a ROS 2 installation, or ROS_SECURITY_ENABLE=false knowingly')
    strategy = base.get('ROS_SECURITY_STRATEGY', '')
    if strategy != 'Enforce':
        return Check('security', False, f'asked for, but permissive: ROS_SECURITY_STRATEGY is '
                     f'{strategy!r}, so a node without an enclave runs unsecured',
                     'ROS_SECURITY_STRATEGY=Enforce exactly')
    keystore = base.get('ROS_SECURITY_KEYSTORE', '')
    cure = ('ros2 security create_keystore, then create_enclave and create_permission with '
            'config/sros2/policy.xml for each; see doc/safety.md')
    if not keystore or not Path(keystore, 'enclaves').is_dir():
        return Check('security', False, f'asked for, but keystore {keystore!r} has no enclaves',
                     cure)
    override = base.get('ROS_SECURITY_ENCLAVE_OVERRIDE')
    if override:
        return Check('security', False, f'one key for all: ROS_SECURITY_ENCLAVE_OVERRIDE is '
                     f'{override!r}, so every node may do what the others may',
                     'unset it: each process is started with an enclave of its own')
    lacking = [f'{name}{path}' for name in processes for path in ENCLAVE_FILES
               if not Path(keystore, 'enclaves', name.strip('/'), path.strip('/')).is_file()]
    if lacking:
        return Check('security', False, f'asked for, but {len(lacking)} files are missing in '
                     f'{keystore}/enclaves, first {lacking[0]}', cure)
    return Check('security', True, f'enforced, keystore {keystore}')


def check_live(profile: str, robot: str, namespace: str, seconds: float = 5.0) -> Check:
    """Which topics of the interface table are alive, through a probe node of its own.

    `profile` of DDS; `robot` says what its topics are called, in `namespace` ('' or absolute).
    """
    if importlib.util.find_spec('karpathy_control.nodes.probe') is None:
        return Check('topics', False, 'this build has no probe node', 'leave --live out')
    command = [sys.executable, '-m', 'karpathy_control.nodes.probe', f'--seconds={seconds}',
               f'--robot={robot}', f'--namespace={namespace}']
    try:
        done = subprocess.run(command, env={**os.environ, **environment(profile)},
                              capture_output=True, text=True, timeout=seconds + 30, check=False)
        report = json.loads(done.stdout.strip().splitlines()[-1])
    except (subprocess.TimeoutExpired, ValueError, IndexError) as error:
        return Check('topics', False, f'the probe gave no report ({error})',
                     'run it by hand: python -m karpathy_control.nodes.probe')
    # Topics of people, on change, or of sensors that the robot does not have may be silent.
    own = robot_of(load_profile(robot), {})
    silent = [name for name, rate in report['rates'].items()
              if rate == 0.0 and rate_of(name, own) and name not in SIMULATED]
    if silent:
        return Check('topics', False, f'silent: {", ".join(silent)}',
                     'is the loop up, in this ROS_DOMAIN_ID and under the same dds_profile?')
    return Check('topics', True, ', '.join(f'{name} {rate:.0f} Hz' for name, rate
                                           in report['rates'].items() if rate))


def examine(robot: str, params_file: str, dds_profile: str, live: bool, namespace: str = ''
            ) -> list[Check]:
    """Every check, in the order in which to cure."""
    parameters: dict[str, dict[str, Value]] = {'perception': {}, 'policy': {}}
    findings: list[Check] = []
    try:
        path = find('config', params_file)
        parameters = read_parameters(path, namespace)
        findings.append(Check('params_file', True, str(path)))
    except (ConfigError, FileNotFoundError) as error:
        findings.append(Check('params_file', False, str(error),
                              'compare with: karpathy-control params --yaml'))
    encoder = str(parameters['perception'].get('weights', 'encoder.safetensors'))
    motion = str(parameters['perception'].get('motion_weights', 'motion.safetensors'))
    actor = str(parameters['policy'].get('weights', 'actor.safetensors'))
    device = str(parameters['perception'].get('device', 'cpu'))
    steps: list[Callable[[], Check]] = [
        check_python, check_disk, check_shared_memory,
        lambda: check_dds(dds_profile, os.environ),
        lambda: check_sockets(dds_profile, os.environ),
        lambda: check_security(os.environ, [enclave('', name) for name in NODE_CONFIGS
                                            if name not in OF_A_SIMULATION]),
        lambda: check_device(device), lambda: check_weights('encoder', encoder),
        lambda: check_novelty(encoder), lambda: check_weights('motion', motion),
        lambda: check_weights('actor', actor), lambda: check_robot(robot), check_host_tools]
    if live:
        steps.append(lambda: check_live(dds_profile, robot, namespace))
    return findings + [step() for step in steps]


def main(argv: Sequence[str]) -> int:
    """Print each check with its cure, and a last line of JSON. 0: all is well; 1: not."""
    parser = argparse.ArgumentParser(prog='karpathy-control doctor', description=main.__doc__)
    parser.add_argument('--robot', default='jackal', help='profile, as for up')
    parser.add_argument('--params-file', default='params.yaml', help='as for up')
    parser.add_argument('--dds-profile', default='local', choices=PROFILES)
    parser.add_argument('--live', action='store_true', help='also listen to the running loop')
    parser.add_argument('--namespace', default='', help='of the robot, as for up')
    options = parser.parse_args(argv)
    name = options.namespace.strip('/')
    checks = examine(options.robot, options.params_file, options.dds_profile, options.live,
                     f'/{name}' if name else '')
    print(f'karpathy_control in {share()}')
    for check in checks:
        print(f'{"ok  " if check.ok else "FAIL"}  {check.name}: {check.detail}')
        if check.cure:
            print(f'      cure: {check.cure}')
    print(json.dumps({'checks': [asdict(check) for check in checks]}))
    return 0 if all(check.ok for check in checks) else 1
