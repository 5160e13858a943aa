"""Fast DDS profiles: which file a `dds_profile` means, and a check before anything starts.

Fast DDS answers a profile that it cannot read with a line in the log and its defaults, under
which large images are lost; so the file is checked here first.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

from karpathy_control.bringup.resources import share
from karpathy_control.bringup.shared_memory import FOLDER
from karpathy_control.contracts.config import ConfigError
from karpathy_control.contracts.files import read_text, xml_paths

PROFILES = ('host', 'local', 'none')
MAX_DOMAIN = 232  # whose ports still exist
# Participants number themselves from 0 where nobody says which number they are; ours begin here,
# and 2 * 120 ports are what the RTPS standard leaves to a domain. config/dds/host.xml looks for
# as many.
FIRST_NUMBER, LAST_NUMBER = 20, 119

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


def domain_of(base: Mapping[str, str]) -> int:
    """The ROS domain of an environment. ConfigError for one whose ports do not exist."""
    text = base.get('ROS_DOMAIN_ID') or '0'
    if not (text.isascii() and text.isdigit() and int(text) <= MAX_DOMAIN):
        raise ConfigError(f'ROS_DOMAIN_ID: {text!r} is not accepted; it takes 0 to {MAX_DOMAIN}')
    return int(text)


def first_port(domain: int) -> int:
    """The first port of a domain (DDSI-RTPS 2.5, 9.6.2.3): discovery of all its participants."""
    return 7400 + 250 * domain


def participant_number(pid: int, domain: int, folder: Path = FOLDER) -> int:
    """A participant number that no process of this machine has or had of late.

    A process that is killed leaves its ports behind, and others go on writing to them until a
    health check finds out. A successor with the same number, and so the same ports, hears nothing
    for two seconds, and now and then never (doc/soak.md).
    """
    span = LAST_NUMBER + 1 - FIRST_NUMBER
    numbers = [FIRST_NUMBER + (pid + k) % span for k in range(span)]
    return next((n for n in numbers
                 if not (folder / f'fastdds_port{first_port(domain) + 10 + 2 * n}').exists()),
                numbers[0])


@contextmanager
def own_ports() -> Iterator[None]:
    """The first node made inside becomes a participant with ports of its own.

    Changes nothing where the profile in force is none of ours, or the domain the last, which has
    ports for a few participants alone. ConfigError for a domain that is none. The profile with
    the number in it is a file while this lasts: Fast DDS takes a path alone, and reads it with
    the first node.
    """
    variable = 'FASTDDS_DEFAULT_PROFILES_FILE'
    path, domain = os.environ.get(variable, ''), domain_of(os.environ)
    ours = [str(profile_file(name)) for name in PROFILES if name != 'none']
    if path not in ours or domain == MAX_DOMAIN:
        yield
        return
    number = participant_number(os.getpid(), domain)
    text = Path(path).read_text().replace(
        '<rtps>', f'<rtps><participantID>{number}</participantID>', 1)
    with NamedTemporaryFile('w', prefix='karpathy-control-dds-', suffix='.xml') as file:
        file.write(text)
        file.flush()
        os.environ[variable] = file.name
        try:
            yield
        finally:
            os.environ[variable] = path


def opened(profile: str, base: Mapping[str, str]) -> str:
    """What a process under a profile opens to the outside, in words. ConfigError for a bad domain.

    Ports are those of the RTPS standard for the domain, two for each process, and one of Fast DDS.
    """
    values = dds_environment(profile, base)
    if base.get('RMW_IMPLEMENTATION', 'rmw_fastrtps_cpp') != 'rmw_fastrtps_cpp':
        return f'{base["RMW_IMPLEMENTATION"]} decides'
    if 'FASTDDS_DEFAULT_PROFILES_FILE' not in values and profile != 'none':
        return 'the profile in the environment decides'
    if profile == 'local':
        return 'no socket: shared memory of this machine, which its other users can read'
    first = first_port(domain_of(base))
    names = ', '.join(name for _, name in socket.if_nameindex())
    return (f'UDPv4 on every interface ({names}), ports 7000, {first} (multicast '
            f'239.255.0.1), two of {first + 10} to {first + 11 + 2 * LAST_NUMBER} for each '
            'process, and one that the system chooses to send from: whoever reaches them can read '
            'and command everything unless SROS 2 is enforced')
