"""The motion of the batched world's base anew: what a stream of commands does with the gate off.

Ramps, delay and slip as stated in `worlds.batched`, pose by pose at its substep of 10 ms, so that
the judge sees the very motion and not only where each control step ended. The adversary compares
both at the end of every episode and refuses to count one where they part.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from karpathy_control.contracts.world import World
from karpathy_control.mapping.jit import kernel
from karpathy_control.worlds.batched import CONTROL_STEP, SUBSTEPS

SUBSTEP = CONTROL_STEP / SUBSTEPS  # s
# what an episode drew, in this order
TRAITS = ('delay', 'acceleration', 'deceleration', 'turn_acceleration', 'slip', 'turn_slip')


@kernel
def _ramp(speed, wish, faster, slower):
    """`speed` one substep nearer to `wish`; `slower` bounds slowing down, through zero too."""
    most = slower if wish * speed < 0.0 or abs(wish) < abs(speed) else faster
    return speed + max(-most, min(most, wish - speed))


@kernel
def _drive(start, commands, traits, poses, speeds):
    late = round(traits[0] / SUBSTEP)
    x, y, yaw = start[0], start[1], start[2]
    v = w = 0.0
    poses[0] = start
    speeds[0] = 0.0
    n = 0
    for k in range(commands.shape[0]):
        for s in range(SUBSTEPS):
            back = 0 if s >= late else (late - s + SUBSTEPS - 1) // SUBSTEPS
            wish_v = wish_w = 0.0
            if k >= back:
                wish_v, wish_w = commands[k - back, 0], commands[k - back, 1]
            v = _ramp(v, wish_v, traits[1] * SUBSTEP, traits[2] * SUBSTEP)
            w = _ramp(w, wish_w, traits[3] * SUBSTEP, traits[3] * SUBSTEP)
            real_v, real_w = v * (1.0 - traits[4]), w * (1.0 - traits[5])
            middle = yaw + 0.5 * real_w * SUBSTEP
            x += real_v * SUBSTEP * math.cos(middle)
            y += real_v * SUBSTEP * math.sin(middle)
            yaw = (yaw + real_w * SUBSTEP + math.pi) % (2.0 * math.pi) - math.pi
            n += 1
            poses[n, 0], poses[n, 1], poses[n, 2] = x, y, yaw
            speeds[n, 0], speeds[n, 1] = real_v, real_w


def drive(start: NDArray[np.float64], commands: NDArray[np.float64],
          traits: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Poses (T, 3) and speeds (T, 2) every SUBSTEP under commands (n, 2), one a control step.

    traits: (6,) of TRAITS. The first pose is `start` (3,), at rest.
    """
    poses = np.empty((len(commands) * SUBSTEPS + 1, 3))
    speeds = np.empty((len(poses), 2))
    _drive(np.asarray(start, np.float64), np.ascontiguousarray(commands, np.float64),
           np.ascontiguousarray(traits, np.float64), poses, speeds)
    return poses, speeds


def tracks(world: World, count: int, step: float = SUBSTEP) -> NDArray[np.float64]:
    """Where the movers of a world are at `count` times `step` s apart. Shape: (count, k, 3).

    ValueError for a world with people: where they walk depends on the robot.
    """
    if world.people:
        raise ValueError(f'world {world.family!r} seed {world.seed} has {len(world.people)} '
                         'people, who react to the robot; the adversary takes worlds without')
    places = np.empty((count, len(world.movers), 3))
    for j, mover in enumerate(world.movers):
        places[:, j, 2] = mover.radius
        for i in range(count):
            places[i, j, :2] = mover.position(i * step)
    return places
