"""`karpathy-control export`: recorded drives as a dataset that lerobot's own loader opens.

A frame is one observation of the policy with the command that went out for it; an episode is a
drive to one goal without a gap. By default pictures are pixelated so that no face, screen or paper
in them can be read. The last line of standard output is one JSON object: what was written, and
everything that was left out by cause.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from karpathy_control.bringup.environment import environment
from karpathy_control.contracts.config import ConfigError

FORMATS = ('lerobot',)
CAMERAS = ('observation/image', 'camera/image_raw')
CELLS = 16  # across a picture: at 90 degrees and 1 m a face is 1.3 of them
CURE = 'pip install -c constraints.txt pyarrow'


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line. Raises ConfigError for what is not accepted."""
    parser = argparse.ArgumentParser(prog='karpathy-control export', description=__doc__)
    parser.add_argument('--bag', type=Path, required=True, nargs='+', metavar='FOLDER',
                        help='what `record` wrote')
    parser.add_argument('--out', type=Path, required=True, help='folder, new or empty')
    parser.add_argument('--format', default='lerobot', choices=FORMATS)
    parser.add_argument('--camera', default=CAMERAS[0], choices=CAMERAS, help='what the encoder '
                        'saw, or the whole picture of the camera; default: %(default)s')
    parser.add_argument('--blur', type=int, default=CELLS, metavar='CELLS', help='pixelate '
                        'pictures to so many cells across, fewer hide more; 0: as they are; '
                        'default: %(default)s')
    parser.add_argument('--task', default='drive to the goal and touch nothing', help='the task '
                        'in words; default: %(default)s')
    parser.add_argument('--shortest', type=float, default=1.0, metavar='SECONDS', help='shorter '
                        'episodes are left out, and counted; default: %(default)s')
    parser.add_argument('--namespace', default='', help='of the robot in the bags')
    parser.add_argument('--robot', default='jackal', help='profile, whose name the dataset gets')
    args = parser.parse_args(argv)
    if args.blur < 0:
        raise ConfigError(f'--blur {args.blur}: it takes 0 (pictures as they are) or more')
    if not (math.isfinite(args.shortest) and args.shortest >= 0.0):
        raise ConfigError(f'--shortest {args.shortest}: it takes 0 s or more')
    if not args.task.strip():
        raise ConfigError('--task: is empty; it takes the task in words')
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line; the export goes on in a module that takes this process over."""
    args = parse(argv)
    if importlib.util.find_spec('pyarrow') is None:
        raise ConfigError(f'pyarrow is not installed, which writes the files: {CURE}')
    namespace = f'/{args.namespace.strip("/")}' if args.namespace else ''
    command = [sys.executable, '-m', 'karpathy_control.nodes.exporter', '--bag',
               *map(str, args.bag), '--out', str(args.out), '--camera', args.camera, '--blur',
               str(args.blur), '--task', args.task, '--shortest', repr(args.shortest),
               '--namespace', namespace, '--robot', args.robot]
    sys.stdout.flush()
    os.execve(sys.executable, command, {**os.environ, **environment('none')})
