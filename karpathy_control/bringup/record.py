"""`karpathy-control record`: writes the topics of the loop to a bag (MCAP), or mends one.

The bag is a folder in the form of rosbag2. Its size is bounded: the oldest file makes room. After
a kill -9 `--recover FOLDER` mends it; what was written up to half a second before is kept (a power
cut takes what the system had not yet written to the disk). The last line of standard output is one
JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from karpathy_control.bags.recording import recover
from karpathy_control.bringup.dds import PROFILES
from karpathy_control.bringup.environment import environment
from karpathy_control.contracts.config import ConfigError
from karpathy_control.contracts.interfaces import BY_NAME, TOPICS

# What makes a drive again, what was decided, and what `view` shows of it. The overlay is a large
# picture that perception draws only while somebody listens.
DERIVED = ('perception/overlay',)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line; `topics` becomes a list."""
    parser = argparse.ArgumentParser(prog='karpathy-control record', description=__doc__)
    parser.add_argument('--out', type=Path, default=Path('bag'), help='folder, new or empty')
    parser.add_argument('--topics', default='', help='comma list of names of the interface table; '
                        'default: all but ' + ', '.join(DERIVED))
    parser.add_argument('--seconds', type=float, default=1e9, help='how long; default: until '
                        'Ctrl-C')
    parser.add_argument('--most-mb', type=int, default=2000, help='bound on the folder')
    parser.add_argument('--file-mb', type=int, default=100, help='a new file after so much')
    parser.add_argument('--namespace', default='', help='of the robot')
    parser.add_argument('--robot', default='jackal', help='profile, for its topic names and the '
                        'type of its commands')
    parser.add_argument('--dds-profile', default='local', choices=PROFILES, help='that of the '
                        'loop: local for `up` and `demo`, host beside ros2 launch')
    parser.add_argument('--recover', type=Path, metavar='FOLDER', help='mend a recording that '
                        'was killed, and do nothing else')
    args = parser.parse_args(argv)
    args.topics = ([name for name in args.topics.split(',') if name]
                   or [t.name for t in TOPICS if t.name not in DERIVED])
    for name in args.topics:
        if name not in BY_NAME:
            raise ConfigError(f'--topics {name!r}: it takes {", ".join(BY_NAME)}')
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line; recording goes on in a node that takes this process over."""
    args = parse(argv)
    if args.recover is not None:
        mended = recover(args.recover)
        print(json.dumps({'out': str(args.recover), 'mended': [path.name for path in mended]}))
        return 0
    namespace = f'/{args.namespace.strip("/")}' if args.namespace else ''
    command = [sys.executable, '-m', 'karpathy_control.nodes.bag_recorder', '--out', str(args.out),
               '--topics', ','.join(args.topics), '--seconds', str(args.seconds), '--most-mb',
               str(args.most_mb), '--file-mb', str(args.file_mb), '--namespace', namespace,
               '--robot', args.robot]
    sys.stdout.flush()
    os.execve(sys.executable, command, {**os.environ, **environment(args.dds_profile)})
