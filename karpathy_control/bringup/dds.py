"""Fast DDS profiles: which file a `dds_profile` means, and a check before anything starts.

Fast DDS answers a profile that it cannot read with a line in the log and its defaults, under
which large images are lost; so the file is checked here first.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from pathlib import Path

from karpathy_control.bringup.resources import share
from karpathy_control.contracts.config import ConfigError
from karpathy_control.contracts.files import read_text, xml_paths

PROFILES = ('host', 'local', 'none')
MAX_DOMAIN = 232  # whose ports still exist

_COLOURS = re.compile(r'\x1b\[[0-9;]*m')

_ROOTS = ('dds', 'profiles')
_SECTIONS = ('profiles', 'types', 'log', 'library_settings')


def profile_file(name: str) -> Path | None:
    """The file of a named profile; None for `none`. ConfigError for another name."""
    if name not in PROFILES:
        raise ConfigError(f'dds_profile: {name!r} is not accepted; it takes one of '
                          + ', '.join(map(repr, PROFILES)))
    return None if name == 'none' else share() / 'config' / 'dds' / f'{name}.xml'


def check_profile(path: Path) -> None:
    """Raise ConfigError, naming file and place, where Fast DDS would drop the profile.

    Checked: the file is there, is well-formed XML without a DTD (no entity can expand), has a
    Fast DDS root, known sections, and at least one profile in it.
    """
    if not path.is_file():
        raise ConfigError(f'Fast DDS profile {path}: no such file')
    tags = xml_paths(read_text(path), f'Fast DDS profile {path}')
    root = tags[0][0]
    if root not in _ROOTS:
        raise ConfigError(f'Fast DDS profile {path}: the root is <{root}>; it takes '
                          + ' or '.join(f'<{name}>' for name in _ROOTS))
    for section in (t[1] for t in tags if root == 'dds' and len(t) == 2):
        if section not in _SECTIONS:
            raise ConfigError(f'Fast DDS profile {path}: unknown section <{section}>; it takes '
                              + ', '.join(f'<{name}>' for name in _SECTIONS))
    depth = 2 if root == 'dds' else 1
    if not any(len(t) == depth + 1 and t[depth - 1] == 'profiles' for t in tags):
        raise ConfigError(f'Fast DDS profile {path}: there is no profile in it')


def refusal(line: str) -> str:
    """The plain text of a log line with which Fast DDS drops a profile; empty for any other."""
    plain = _COLOURS.sub('', line)
    return plain if '[XMLPARSER Error]' in plain else ''


def cut_off(line: str) -> str:
    """The plain text of a log line that says that a process got no transport; empty for others.

    So it is with the profile `local` where shared memory is full: the node would run, hear
    nothing and be heard by nobody, also once there is room again.
    """
    plain = _COLOURS.sub('', line)
    return plain if '[RTPS_PARTICIPANT Error] No unicast locators' in plain else ''


def dds_environment(profile: str, base: Mapping[str, str]) -> dict[str, str]:
    """Variables that put a profile into force; empty where the caller chose something else.

    A profile already in the environment is checked and kept. Another RMW is left alone.
    """
    rmw = base.get('RMW_IMPLEMENTATION', 'rmw_fastrtps_cpp')
    if rmw != 'rmw_fastrtps_cpp':
        return {}
    path = profile_file(profile)
    for name in ('FASTDDS_DEFAULT_PROFILES_FILE', 'FASTRTPS_DEFAULT_PROFILES_FILE'):
        if base.get(name):
            check_profile(Path(base[name]))
            return {'RMW_IMPLEMENTATION': rmw}
    if path is None:
        return {'RMW_IMPLEMENTATION': rmw}
    check_profile(path)
    values = {'RMW_IMPLEMENTATION': rmw, 'FASTDDS_DEFAULT_PROFILES_FILE': str(path)}
    if profile == 'local':
        # LOCALHOST would silently add UDP transports, OFF would part the nodes from each other;
        # the profile itself opens no socket, so the range has nothing left to limit.
        values['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'SYSTEM_DEFAULT'
    return values


def opened(profile: str, base: Mapping[str, str]) -> str:
    """What a process under a profile opens to the outside, in words. ConfigError for a bad domain.

    Ports are those of the RTPS standard for the domain, and one of Fast DDS; those of the second
    and later processes of a machine follow in steps of two.
    """
    values = dds_environment(profile, base)
    if base.get('RMW_IMPLEMENTATION', 'rmw_fastrtps_cpp') != 'rmw_fastrtps_cpp':
        return f'{base["RMW_IMPLEMENTATION"]} decides'
    if 'FASTDDS_DEFAULT_PROFILES_FILE' not in values and profile != 'none':
        return 'the profile in the environment decides'
    if profile == 'local':
        return 'no socket: shared memory of this machine, which its other users can read'
    text = base.get('ROS_DOMAIN_ID') or '0'
    if not (text.isascii() and text.isdigit() and int(text) <= MAX_DOMAIN):
        raise ConfigError(f'ROS_DOMAIN_ID: {text!r} is not accepted; it takes 0 to {MAX_DOMAIN}')
    first = 7400 + 250 * int(text)
    names = ', '.join(name for _, name in socket.if_nameindex())
    return (f'UDPv4 on every interface ({names}), ports 7000, {first} (multicast '
            f'239.255.0.1), {first + 10} and {first + 11} for the first process, +2 for each '
            'other, and one that the system chooses to send from: whoever reaches them can read '
            'and command everything unless SROS 2 is enforced')
