"""`karpathy-control view`: the loop in the browser, live or from a bag.

World with scan, depth, entities, map, path and the braking that the gate has checked; camera,
state, commands and times. The page is rerun's web viewer, bound to the loopback interface; it lets
the browser reach nothing but this machine. The last line of standard output is one JSON object.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from karpathy_control.bringup.dds import PROFILES
from karpathy_control.bringup.environment import environment
from karpathy_control.contracts.config import ConfigError

CURE = 'pip install -c constraints.txt rerun-sdk'


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line. Raises ConfigError for what is not accepted."""
    parser = argparse.ArgumentParser(prog='karpathy-control view', description=__doc__)
    parser.add_argument('--bag', type=Path, metavar='FOLDER', help='show a recording, not what '
                        'runs now')
    parser.add_argument('--save', type=Path, metavar='FILE', help='also write what is shown to a '
                        'file of rerun (.rrd)')
    parser.add_argument('--no-page', action='store_true', help='only write the file')
    parser.add_argument('--host', default='127.0.0.1', help='address that the page is served on; '
                        'anything but the default lets others look, and nobody is asked for a '
                        'password')
    parser.add_argument('--port', type=int, default=9090)
    parser.add_argument('--memory', default='500MB', help='kept for pages that are opened later')
    parser.add_argument('--namespace', default='', help='of the robot')
    parser.add_argument('--robot', default='jackal', help='profile, for its topic names and the '
                        'type of its commands')
    parser.add_argument('--seconds', type=float, default=1e9, help='how long; default: until '
                        'Ctrl-C')
    parser.add_argument('--dds-profile', default='local', choices=PROFILES, help='that of the '
                        'loop: local for `up` and `demo`, host beside ros2 launch')
    args = parser.parse_args(argv)
    if not 0 <= args.port <= 65535:
        raise ConfigError(f'--port {args.port}: it takes 0 (any) to 65535')
    if args.no_page and args.save is None:
        raise ConfigError('--no-page without --save FILE shows nothing')
    if args.save is not None and not args.save.parent.is_dir():
        raise ConfigError(f'--save {args.save}: there is no folder {args.save.parent}')
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line; showing goes on in a node that takes this process over."""
    args = parse(argv)
    if importlib.util.find_spec('rerun') is None:
        raise ConfigError(f'rerun is not installed, whose viewer shows the page: {CURE}')
    namespace = f'/{args.namespace.strip("/")}' if args.namespace else ''
    command = [sys.executable, '-m', 'karpathy_control.nodes.viewer', '--host', args.host,
               '--port', str(args.port), '--memory', args.memory, '--namespace', namespace,
               '--robot', args.robot, '--seconds', str(args.seconds)]
    for name in ('bag', 'save'):
        if getattr(args, name) is not None:
            command += [f'--{name}', str(getattr(args, name))]
    if args.no_page:
        command.append('--no-page')
    sys.stdout.flush()
    os.execve(sys.executable, command, {**os.environ, **environment(args.dds_profile)})
