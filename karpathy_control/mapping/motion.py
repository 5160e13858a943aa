"""How a tracked thing is taken to go on: in a turn that wears off, and ever less surely.

A thing at speed v that turns at w has turned by w T (1 - exp(-t / T)) after t seconds: nothing
circles for ever, and a turn rate says little of what is seconds away. learning.motion learns w and
how unsure it is; T, learned beside them once, came out at 1.48 s (doc/log.md).
"""

from __future__ import annotations

import math

from karpathy_control.mapping.jit import kernel

# columns of a row of moving things (contracts.layout.MOVER_FIELDS of them)
X, Y, VX, VY, RADIUS, CONFIDENCE, TURN_RATE, SPREAD = range(8)  # m m m/s m/s m 1 rad/s m/s
TURN_TIME = 1.5  # s, T
PLAIN_SPREAD = 0.3  # m/s, of what nothing is known of but its velocity


@kernel
def go_on(movers, step, ways):
    """Write where everything is after 1, 2, ... steps of `step` s into ways (n, m, 2), m.

    movers: (m, MOVER_FIELDS). Each step is a chord at the heading of its middle.
    """
    for m in range(movers.shape[0]):
        x, y = movers[m, X], movers[m, Y]
        vx, vy = movers[m, VX], movers[m, VY]
        for k in range(ways.shape[0]):
            turned = movers[m, TURN_RATE] * TURN_TIME * (
                1.0 - math.exp(-(k + 0.5) * step / TURN_TIME))
            c, s = math.cos(turned), math.sin(turned)
            x += (c * vx - s * vy) * step
            y += (s * vx + c * vy) * step
            ways[k, m, 0], ways[k, m, 1] = x, y
