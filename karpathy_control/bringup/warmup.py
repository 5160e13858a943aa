"""Compiles the kernels of the loop once, so that nodes start from the cache on disk.

Run when the environment is made, after `colcon build`, and after an update of the code where a
fast first start matters; without it each node compiles what it needs when it configures (minutes).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from karpathy_control.bringup.environment import environment


def _sensing() -> None:
    from karpathy_control.contracts.config import SensorConfig
    from karpathy_control.sensing.pipeline import SensorPipeline

    SensorPipeline(SensorConfig()).warm_up()


def _perception() -> None:
    from karpathy_control.perception.tracker import Tracker

    Tracker().warm_up()


def _policy() -> None:
    from karpathy_control.contracts.config import PolicyConfig
    from karpathy_control.policy.runtime import PolicyRuntime

    PolicyRuntime(None, PolicyConfig()).warm_up()


def _control() -> None:
    from karpathy_control.contracts.config import ControlConfig
    from karpathy_control.control.controller import Controller

    Controller(ControlConfig()).warm_up()


STEPS: dict[str, Callable[[], None]] = {
    'sensing': _sensing, 'perception': _perception, 'policy': _policy, 'control': _control}


def compile_part(name: str) -> int:
    """Compile one part in this process; one that fails says so and is left to its node."""
    os.environ.update(environment('none'))  # before numba is imported: it reads its cache folder
    os.makedirs(os.environ['NUMBA_CACHE_DIR'], exist_ok=True)
    start = time.monotonic()
    try:
        STEPS[name]()
    except Exception as error:  # whatever is wrong, the node itself will say it better
        print(f'kernels of {name}: left to the node ({error})', file=sys.stderr)
        return 1
    print(f'kernels of {name}: ready ({time.monotonic() - start:.1f} s)', flush=True)
    return 0


def main(argv: Sequence[str]) -> int:
    """Compile all parts side by side; never fails, since each node can compile for itself."""
    if argv and argv[0] in STEPS:
        return compile_part(argv[0])
    argparse.ArgumentParser(prog='karpathy-control warmup', description=__doc__).parse_args(argv)
    module = 'karpathy_control.bringup.warmup'
    parts = [subprocess.Popen([sys.executable, '-m', module, name]) for name in STEPS]
    for part in parts:
        part.wait()
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
