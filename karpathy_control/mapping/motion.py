"""How a tracked thing is taken to go on: in a turn that wears off, and ever less surely.

A thing at speed v that turns at w and gains speed at a has turned by w T (1 - exp(-t / T)) after t
seconds and goes at v + a T (1 - exp(-t / T)): nothing circles or gains for ever, and a rate says
little of what is seconds away. learning.motion learns w, a and how unsure they are; T, learned
beside w once, came out at 1.48 s (doc/log.md).
"""

from __future__ import annotations

import math

from karpathy_control.mapping.jit import kernel

# columns of a row of moving things (contracts.layout.MOVER_FIELDS of them)
X, Y, VX, VY, RADIUS, CONFIDENCE = range(6)  # m m m/s m/s m 1
TURN_RATE, SPREAD, GAIN = range(6, 9)  # rad/s m/s m/s^2
TURN_TIME = 1.5  # s, T
PLAIN_SPREAD = 0.3  # m/s, of what nothing is known of but its velocity


@kernel
def go_on(movers, step, ways):
    """Write where everything is after 1, 2, ... steps of `step` s into ways (n, m, 2), m.

    movers: (m, MOVER_FIELDS). Each step is a chord at the heading of its middle.
    """
    for m in range(movers.shape[0]):
        x, y = movers[m, X], movers[m, Y]
        speed = math.hypot(movers[m, VX], movers[m, VY])
        heading = math.atan2(movers[m, VY], movers[m, VX])
        for k in range(ways.shape[0]):
            worn = TURN_TIME * (1.0 - math.exp(-(k + 0.5) * step / TURN_TIME))
            way = max(speed + movers[m, GAIN] * worn, 0.0) * step
            x += way * math.cos(heading + movers[m, TURN_RATE] * worn)
            y += way * math.sin(heading + movers[m, TURN_RATE] * worn)
            ways[k, m, 0], ways[k, m, 1] = x, y
