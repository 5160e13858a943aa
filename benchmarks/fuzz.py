"""Fuzzing at length: hostile messages through every conversion and on into `control`.

What must come out: no crash, no warning, and no command other than a stop from an invalid message;
see karpathy_control/nodes/fuzz.py for what is checked. One core, about a millisecond a message.

    python benchmarks/fuzz.py [--messages 1000000] [--seed 0]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time

from karpathy_control.bringup.environment import environment

# Before any message class is imported: field checks, and a transport that opens no socket.
os.environ.update(environment('local'))
os.environ.setdefault('ROS_DOMAIN_ID', str(1 + os.getpid() % 100))

import rclpy

from karpathy_control.nodes.fuzz import Fuzzer

PROGRESS = 10.0  # s
SHOWN = 20  # failures that are printed


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--messages', type=int, default=1_000_000)
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args(argv)
    rclpy.init(args=['--ros-args', '-p', 'use_sim_time:=true', '--log-level', 'fatal'])
    begin = last = time.monotonic()

    def progress(done: int) -> None:
        nonlocal last
        if time.monotonic() - last > PROGRESS:
            last = time.monotonic()
            print(f'{done} of {args.messages}, {len(fuzzer.tally.failures)} failures, '
                  f'{done / (last - begin):.0f} a second', file=sys.stderr)

    try:
        fuzzer = Fuzzer(args.seed)
        start_mb = _peak_mb()
        tally = fuzzer.run(args.messages, progress)
    finally:
        rclpy.try_shutdown()
    for failure in tally.failures[:SHOWN]:
        print(failure, file=sys.stderr)
    print(json.dumps({
        'bench': 'fuzz', 'seed': args.seed, 'messages': tally.messages,
        'untouched': tally.untouched,
        'accepted': tally.accepted.total(), 'refused': tally.refused.total(),
        'by_conversion': {name: {'accepted': tally.accepted[name], 'refused': tally.refused[name],
                                 'slowest_ms': round(tally.slowest[name], 2)}
                          for name in sorted(tally.slowest)},
        'to_control': tally.to_control, 'refused_while_driving': dict(tally.refused_driving),
        'held_up': tally.held_up, 'crashes': len(tally.failures),
        'seconds': round(time.monotonic() - begin, 1),
        'memory_growth_mb': round(_peak_mb() - start_mb, 1)}))
    return 1 if tally.failures else 0


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


if __name__ == '__main__':
    sys.exit(main())
