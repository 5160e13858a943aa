"""`karpathy-control train policy|encoder|motion|novelty|surrogate`: the one door to them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

USAGE = """usage: karpathy-control train policy|encoder|motion|novelty|surrogate [options]

  policy     the reflex, by PPO in the batched world with the gate in the loop
  encoder    the perception network, on rendered frames
  motion     how things that move go on, from tracks
  novelty    what the out-of-distribution score of an encoder compares with
  surrogate  what the camera scan of the batched world errs by, after the encoder

  --help after one lists its options"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one training; returns the exit status."""
    # torch spins on its OpenMP threads: one busy neighbour costs a factor of ten
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    os.environ.setdefault('GIT_PYTHON_REFRESH', 'quiet')  # rsl_rl looks for git
    arguments = list(sys.argv[1:] if argv is None else argv)
    what = arguments[0] if arguments else '--help'
    if what in ('policy', 'actor'):  # an actor is what the policy's weight file holds
        from karpathy_control.learning import ppo
        return ppo.main(arguments[1:])
    if what == 'encoder':
        from karpathy_control.learning import pretrain
        return pretrain.main(arguments[1:])
    if what == 'motion':
        from karpathy_control.learning import motion
        return motion.main(arguments[1:])
    if what == 'novelty':
        from karpathy_control.learning import novelty
        return novelty.main(arguments[1:])
    if what == 'surrogate':
        from karpathy_control.learning import surrogate
        return surrogate.main(arguments[1:])
    print(USAGE)
    if what in ('-h', '--help'):
        return 0
    print(f'train: {what!r} is unknown; it takes policy, encoder, motion, novelty or surrogate',
          file=sys.stderr)
    return 2


if __name__ == '__main__':
    sys.exit(main())
