"""The guided drive: which manoeuvres, how much room they take, and what to command at each tick.

Out and back on one line, half turns at both ends, two full circles: the robot comes back to where
it began. Every command is one of a manoeuvre or zero; the drive ends itself with a reason where
the base does not do what it is told.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from karpathy_control.contracts.config import ConfigError, RobotConfig
from karpathy_control.contracts.geometry import wrap_angle
from karpathy_control.contracts.types import Command, State

STRAIGHT, TURN, ARC = 'straight', 'turn', 'arc'
LONGEST = 180.0  # s, of the whole drive
FIRST = 3.0  # s of standing at the start: noise and biases
SETTLE = 1.0  # s of standing after each manoeuvre, in which scans are averaged
HOLD = 0.8  # s at the full speed of a straight leg
RADIUS = 0.5  # m, least of the circles
REPEATS = (1, 5)
_STILL_V, _STILL_W = 0.02, 0.05  # m/s, rad/s: less is standing
_REST_TIME = 4.0  # s in which the base must come to rest
_NEAR = 0.03  # share of the target within which the applied command counts as reached
_SLACK = 1.0  # s beyond the ramp in which it must be
_HELD_TIME = 0.15  # s for which it may be missed afterwards
_LAG = 0.15  # s that the base may be late, for the room and the angle to stop in
_OVER = 0.5  # m or rad beyond the plan that end the drive
_REACTION = 0.12  # s, gate.reaction_time as it comes
_SPARE = 0.25  # m round all that is driven over


class Halted(RuntimeError):  # noqa: N818 - not an error of the program
    """The drive cannot go on; the text says why, and the cure."""


@dataclass(frozen=True)
class Manoeuvre:
    """One command, held until its distance or angle is done."""

    kind: str  # STRAIGHT, TURN or ARC
    command: Command
    angle: float = 0.0  # rad to turn, signed; 0 of a straight leg


@dataclass(frozen=True)
class Span:
    """When a manoeuvre began, reached its command, ended it, stood, and was over; s."""

    manoeuvre: Manoeuvre
    go: float
    reached: float
    brake: float
    rest: float
    end: float


def plan(robot: RobotConfig, speed: float, turn: float, repeats: int) -> tuple[Manoeuvre, ...]:
    """The drive up to `speed` (m/s) and `turn` (rad/s), the fast legs `repeats` times.

    ConfigError names what is beyond the limits of the robot, or too long.
    """
    for name, value, most in (('--speed', speed, robot.max_speed),
                              ('--turn', turn, robot.max_turn)):
        if not 0.0 < value <= most:
            raise ConfigError(f'{name} {value:g}: it takes more than 0 and at most {most:g}, the '
                              'limit of the profile')
    if not REPEATS[0] <= repeats <= REPEATS[1]:
        raise ConfigError(f'--repeats {repeats}: it takes {REPEATS[0]} to {REPEATS[1]}')
    if robot.max_curvature:
        raise ConfigError(f'robot.max_curvature: {robot.max_curvature:g}; the drive turns on the '
                          'spot, so it takes a base that can (0)')
    speeds = [0.5 * speed] * max(1, repeats - 1) + [speed] * repeats
    rates = [turn, -turn, 0.5 * turn, -0.5 * turn]
    steps: list[Manoeuvre] = []
    for i in range(2 * len(speeds)):
        rate = rates[i % len(rates)]
        steps += [Manoeuvre(STRAIGHT, Command(speeds[i // 2], 0.0)),
                  Manoeuvre(TURN, Command(0.0, rate), math.copysign(math.pi, rate))]
    v = 0.5 * speed
    radius = max(RADIUS, v / turn, v * v / robot.max_lateral_acceleration)
    for side in (1.0, -1.0):
        steps.append(Manoeuvre(ARC, Command(v, side * v / radius), side * 2.0 * math.pi))
    if duration(steps, robot) > LONGEST:
        raise ConfigError(f'--repeats {repeats}: the drive would take '
                          f'{duration(steps, robot):.0f} s; at most {LONGEST:g}, so lower it')
    return tuple(steps)


def _leg(v: float, robot: RobotConfig) -> float:
    """Length of a straight leg, m."""
    return v * (HOLD + _LAG) + 0.5 * v * v * (1.0 / robot.acceleration + 1.0 / robot.deceleration)


def duration(steps: Sequence[Manoeuvre], robot: RobotConfig) -> float:
    """About how long the drive takes, s."""
    total = FIRST
    for step in steps:
        v, w = abs(step.command.v), abs(step.command.w)
        ramps = max(v / robot.acceleration + v / robot.deceleration,
                    2.0 * w / robot.turn_acceleration)
        held = HOLD if step.kind == STRAIGHT else max(0.0, abs(step.angle) / w - 0.5 * ramps)
        total += ramps + held + 2.0 * _LAG + SETTLE
    return total


def room(steps: Sequence[Manoeuvre], robot: RobotConfig) -> tuple[float, float, float, float]:
    """What must be free: x from, x to, y from, y to in base at the start, m.

    What is driven over, the braking room that the gate keeps beyond it, and some.
    """
    out = robot.circumscribed_radius + _SPARE

    def kept(v: float) -> float:
        return v * (_REACTION + robot.fault_budget) + out

    fastest = max(step.command.v for step in steps)
    behind, ahead, side = kept(fastest), _leg(fastest, robot) + kept(fastest), out
    for step in steps:
        if step.kind == ARC:
            radius = abs(step.command.v / step.command.w)
            side = max(side, 2.0 * radius + kept(step.command.v))
            ahead, behind = max(ahead, radius + kept(step.command.v)), max(
                behind, radius + kept(step.command.v))
    return -behind, ahead, -side, side


def in_the_way(points: NDArray[np.float64], box: tuple[float, float, float, float]
               ) -> NDArray[np.float64]:
    """Those of the points that lie in the room. points: (n, 2) m in base; shape: (m, 2)."""
    x0, x1, y0, y1 = box
    x, y = points[:, 0], points[:, 1]
    return points[(x > x0) & (x < x1) & (y > y0) & (y < y1)]


class Drive:
    """What to command, tick by tick. Times are seconds of one steady clock."""

    def __init__(self, steps: Sequence[Manoeuvre], robot: RobotConfig) -> None:
        self.spans: list[Span] = []
        self._steps, self._robot = steps, robot
        self._index = -1  # of the manoeuvre under way or done last
        self._begun: float | None = None
        self._started = State(0, 0.0, 0.0, 0.0, 0.0, 0.0)
        self._yaw, self._from_yaw, self._base_yaw = 0.0, 0.0, 0.0  # unwrapped
        self._last_yaw: float | None = None
        self._driving = False
        self._go = self._brake = 0.0
        self._reached: float | None = None
        self._missed: float | None = None  # since when the applied command is off its target
        self._still: float | None = None

    @property
    def done(self) -> bool:
        """Whether all has been driven and the robot stands."""
        return len(self.spans) == len(self._steps)

    @property
    def text(self) -> str:
        """What is being done, for a person."""
        if self._index < 0:
            return 'standing'
        step = self._steps[self._index]
        return (f'{self._index + 1} of {len(self._steps)}: {step.kind} {step.command.v:g} m/s '
                f'{step.command.w:g} rad/s')

    def tick(self, now: float, state: State, applied: Command) -> Command:
        """The command of this moment, from odometry and the command that the base last got.

        Raises Halted where it cannot go on.
        """
        if self._begun is None:
            self._begun, self._brake, self._base_yaw = now, now, 0.0
        if self._last_yaw is not None:
            self._yaw += wrap_angle(state.yaw - self._last_yaw)
        self._last_yaw = state.yaw
        if now - self._begun > LONGEST:
            raise Halted(f'the drive takes longer than {LONGEST:g} s; ask for fewer --repeats')
        if self._driving:
            return self._drive(now, state, applied)
        return self._stand(now, state)

    def _stand(self, now: float, state: State) -> Command:
        if self.done:
            return Command()
        if abs(state.v) > _STILL_V or abs(state.w) > _STILL_W:
            self._still = None
            if now - self._brake > _REST_TIME:
                raise Halted(f'the base does not come to rest: {state.v:.2f} m/s and '
                             f'{state.w:.2f} rad/s by odometry {_REST_TIME:g} s after the end of '
                             'a command; look at its driver')
            return Command()
        self._still = now if self._still is None else self._still
        if now - self._still < (FIRST if self._index < 0 else SETTLE):
            return Command()
        if self._index >= 0:
            assert self._reached is not None  # or it had not ended
            self.spans.append(Span(self._steps[self._index], self._go, self._reached,
                                   self._brake, self._still, now))
            if self.done:
                return Command()
        self._index += 1
        self._driving, self._go, self._reached, self._missed = True, now, None, None
        self._started, self._from_yaw = state, self._yaw
        return self._steps[self._index].command

    def _drive(self, now: float, state: State, applied: Command) -> Command:
        step, robot = self._steps[self._index], self._robot
        v, w = abs(step.command.v), abs(step.command.w)
        self._watch(now, step, applied)
        turned = self._yaw - self._from_yaw
        gone = math.hypot(state.x - self._started.x, state.y - self._started.y)
        if step.kind == STRAIGHT:
            over = gone > _leg(v, robot) + _OVER or abs(turned) > _OVER
            ended = self._reached is not None and now - self._reached >= HOLD
        else:
            # All turns of the drive add up to whole half turns, whatever each fell short of.
            sign = math.copysign(1.0, step.angle)
            left = sign * (self._base_yaw + step.angle - self._yaw)
            most = _OVER if step.kind == TURN else 2.0 * v / w + _OVER
            over = gone > most or left < -_OVER or sign * turned < -_OVER
            ended = left <= 0.5 * w * w / robot.turn_acceleration + 0.5 * _LAG * w
        if over:
            raise Halted(f'the base goes elsewhere than it is told: {gone:.2f} m and '
                         f'{turned:.2f} rad by odometry in {self.text}; look at its driver, and '
                         'at the frames and signs of odometry')
        if not ended:
            return step.command
        if self._reached is None:
            raise Halted(f'{self.text}: over before the base was told all of it; ask for less '
                         '--turn')
        self._base_yaw += step.angle
        self._driving, self._brake, self._still = False, now, None
        return Command()

    def _watch(self, now: float, step: Manoeuvre, applied: Command) -> None:
        """Halted where the gate passes something else than what is asked for."""
        v, w, robot = step.command.v, step.command.w, self._robot
        off = max(abs(applied.v - v) - _NEAR * abs(v), abs(applied.w - w) - _NEAR * abs(w))
        if off <= 1e-6:
            self._missed = None
            self._reached = now if self._reached is None else self._reached
            return
        if self._reached is None:
            ramp = max(abs(v) / robot.acceleration, abs(w) / robot.turn_acceleration)
            late = now - self._go > ramp + _SLACK
        else:
            self._missed = now if self._missed is None else self._missed
            late = now - self._missed > _HELD_TIME
        if late:
            raise Halted(f'the gate holds the robot: asked for {v:g} m/s and {w:g} rad/s, passed '
                         f'{applied.v:.2f} and {applied.w:.2f}; something is in the way, or the '
                         'room is too small: clear it, or ask for less --speed')
