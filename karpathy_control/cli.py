"""`karpathy-control`: one command, its sub-commands imported only when they are called."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from karpathy_control.bringup.environment import cache_folder
from karpathy_control.contracts.card import WeightsError
from karpathy_control.contracts.config import ConfigError

# name -> module with main(argv) -> exit status, and what it does
COMMANDS = {
    'up': ('karpathy_control.bringup.runner', 'start the whole loop and keep it up'),
    'demo': ('karpathy_control.evaluation.demo', 'drive to goals in a generated world, report'),
    'train': ('karpathy_control.learning.train', 'train the policy or the encoder'),
    'adapt': ('karpathy_control.learning.adapt', 'the camera to your robot, from its drives'),
    'evaluate': ('karpathy_control.evaluation.evaluate', 'measure the policy in unseen worlds'),
    'adversary': ('karpathy_control.evaluation.adversary', 'try to make the gate touch something'),
    'calibrate': ('karpathy_control.evaluation.calibrate', 'measure the simulated base'),
    'bench': ('karpathy_control.evaluation.bench', 'measure the loop, the world or training'),
    'figures': ('karpathy_control.evaluation.figure_runs', 'measure the figures of the README'),
    'faults': ('karpathy_control.evaluation.faults', 'every fault in turn, and what is done'),
    'soak': ('karpathy_control.evaluation.soak', 'kill nodes at random for a long time'),
    'world': ('karpathy_control.bringup.world', 'write a generated world: SDF, MJCF or JSON'),
    'record': ('karpathy_control.bringup.record', 'write topics to a bag (MCAP), or mend one'),
    'export': ('karpathy_control.bringup.export', 'bags as a dataset for lerobot, pixelated'),
    'replay': ('karpathy_control.bringup.replay', 'a bag through the nodes again: the same?'),
    'view': ('karpathy_control.bringup.view', 'show the loop or a bag in the browser'),
    'doctor': ('karpathy_control.bringup.doctor', 'check this machine; each finding with a cure'),
    'measure': ('karpathy_control.bringup.measure', 'drive a robot, guided, and measure it'),
    'warmup': ('karpathy_control.bringup.warmup', 'compile the kernels, for a fast first start'),
    'params': ('karpathy_control.bringup.parameters', 'print every parameter (YAML or Markdown)'),
}

EXIT_REFUSED = 2
EXIT_INTERRUPTED = 130


def usage() -> str:
    """The commands, one a line."""
    lines = [f'  {name:10} {text}' for name, (_, text) in COMMANDS.items()]
    return '\n'.join(['usage: karpathy-control COMMAND [ARGUMENTS]', '', *lines, '',
                      'karpathy-control COMMAND --help says more.'])


def run(argv: Sequence[str]) -> int:
    """Run one command and return its exit status. An error of the user is one line and 2."""
    if not argv or argv[0] in ('-h', '--help', 'help'):
        print(usage())
        return 0 if argv else EXIT_REFUSED
    name, *rest = argv
    if name not in COMMANDS:
        print(f'karpathy-control: unknown command {name!r}; it takes {", ".join(COMMANDS)}',
              file=sys.stderr)
        return EXIT_REFUSED
    try:
        # Before numba and message modules are imported: one cache, and checked message fields.
        os.environ.setdefault('NUMBA_CACHE_DIR', str(cache_folder()))
        os.environ['ROS_PYTHON_CHECK_FIELDS'] = '1'
        status = importlib.import_module(COMMANDS[name][0]).main(rest)
        return int(status or 0)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except (ConfigError, WeightsError, FileNotFoundError) as error:
        print(f'karpathy-control {name}: {error}', file=sys.stderr)
        return EXIT_REFUSED


def main() -> int:
    """Console entry point."""
    return run(sys.argv[1:])


if __name__ == '__main__':
    sys.exit(main())
