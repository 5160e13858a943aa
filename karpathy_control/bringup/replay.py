"""`karpathy-control replay`: a recorded drive through sensor, perception and policy again.

Every stage gets what its node consumed, in the order and at the times of its journal, and its
answers are compared with those in the bag: raw topics through `sensor`, observations through
`perception`, both through `policy`; `chain` goes from raw topics to actions with nothing recorded
in between. On the machine and runtime of the recording all are the same bit for bit. Nothing is
published. Exit status 0 where all agree, 1 where not; the last line of standard output is one
JSON object.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from karpathy_control.bringup.environment import environment
from karpathy_control.contracts.config import ConfigError

STAGES = ('sensor', 'perception', 'policy', 'chain')


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line. Raises ConfigError for what is not accepted."""
    parser = argparse.ArgumentParser(prog='karpathy-control replay', description=__doc__)
    parser.add_argument('--bag', type=Path, required=True, metavar='FOLDER',
                        help='what `record` wrote')
    parser.add_argument('--tolerance', type=float, default=0.0, help='largest difference that '
                        'agrees, in the units of the messages; default 0: bit for bit')
    parser.add_argument('--stages', default=','.join(STAGES), help='comma list; default: '
                        '%(default)s')
    parser.add_argument('--namespace', default='', help='of the robot in the bag')
    args = parser.parse_args(argv)
    if not (math.isfinite(args.tolerance) and args.tolerance >= 0.0):
        raise ConfigError(f'--tolerance {args.tolerance}: it takes 0 or more')
    for name in args.stages.split(','):
        if name not in STAGES:
            raise ConfigError(f'--stages {name!r}: it takes {", ".join(STAGES)}')
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line; the replay goes on in a module that takes this process over."""
    args = parse(argv)
    namespace = f'/{args.namespace.strip("/")}' if args.namespace else ''
    command = [sys.executable, '-m', 'karpathy_control.nodes.replay', '--bag', str(args.bag),
               '--stages', args.stages, '--tolerance', repr(args.tolerance), '--namespace',
               namespace]
    sys.stdout.flush()
    os.execve(sys.executable, command, {**os.environ, **environment('none')})
