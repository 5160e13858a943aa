"""Everything that has arrived at the controller, checked and aged; no decision is made here.

A message that fails its checks is refused and counted, never raised. Sensor data waits in
`pending` until the pose at its stamp is known.
"""

from __future__ import annotations

import math
from collections import deque

from karpathy_control.contracts.config import ControlConfig, rate_of
from karpathy_control.contracts.layout import ENTITY_FIELDS, SCAN_BEAMS
from karpathy_control.contracts.types import (
    NANOSECONDS,
    Action,
    Command,
    DepthPoints,
    FloatArray,
    ImuSample,
    Pose2,
    RawScan,
    Scan,
    State,
)
from karpathy_control.control.ages import Health, Input
from karpathy_control.control.odometry import OdometryHistory
from karpathy_control.control.turn_check import SETTLE, TurnCheck
from karpathy_control.mapping.frozen import FrozenScan
from karpathy_control.mapping.plausible import PlausibleScan

_BACK = NANOSECONDS // 2  # an odometry stamp this far behind the last one is a clock set back
_MOVES = 0.05  # m/s or rad/s: a robot that moves shakes its inertial unit
DISAGREEMENT = 1.5  # windows of the check in which odometry and IMU may part before it shows
_FROZEN_IMU = 10  # equal samples in a row; noise lets no live one repeat
# What the controller listens to, by its name here, and the topic it comes on.
TOPIC_OF = {
    'scan': 'scan', 'depth': 'observation/depth_points', 'camera_scan': 'perception/scan',
    'odom': 'odom', 'imu': 'imu', 'observation': 'observation/goal',
    'entities': 'perception/entities', 'action': 'policy/action', 'teleop': 'cmd_vel_teleop'}
_NAME_OF = {topic: name for name, topic in TOPIC_OF.items()}


class Intake:
    """Inputs of one robot.

    `received` is in nanoseconds of CLOCK_MONOTONIC, stamps are nanoseconds of the node clock.
    """

    def __init__(self, config: ControlConfig) -> None:
        self.config = config
        self.inputs = {name: Input(rate_of(topic, config.robot))
                       for name, topic in TOPIC_OF.items()}
        self.clock = Input()
        self.odometry = OdometryHistory(config.robot.creep)
        self.pending: deque[RawScan | DepthPoints | Scan] = deque(maxlen=16)
        self.action: Action | None = None
        self.action_invalid = False
        self.teleop = Command()
        self.emergency = False
        self.memory_void = False  # odometry jumped or time went back: what was seen is void
        self.jumped_back = False
        self.jump_stamp: int | None = None  # of the last jump of the odometry pose
        self.motion_disagrees = False
        self.counts: dict[str, int] = {}
        self.invalid: dict[str, int] = {}
        self.invalid_new = False  # since whoever reads it set it back
        self.refused = ''  # the last refusal
        self._table: FloatArray | None = None  # of entities; None: none, or they are unsure
        self._emergency_input = False
        self._turns = TurnCheck(config.robot.odom_rate, config.robot.imu_rate)
        self._contradiction: int | None = None  # stamp of the last one within odometry
        self._sample: tuple[float, ...] = ()  # the last of the IMU
        self._repeats = 0  # of it
        self._watch = FrozenScan(config.robot.lidar_pose)
        self._plausible = PlausibleScan(config.robot.lidar_pose)

    # -- sensors ------------------------------------------------------------------------------

    def on_scan(self, scan: RawScan, received: int) -> None:
        """Take a raw scan; single ranges may be NaN or infinite, its geometry may not."""
        numbers = (scan.angle_min, scan.angle_increment, scan.range_min, scan.range_max)
        if (not all(map(math.isfinite, numbers)) or scan.angle_increment == 0.0
                or scan.range_max <= scan.range_min or len(scan.ranges) < 2):
            self.on_invalid('scan', f'{len(scan.ranges)} ranges, angle_min, angle_increment, '
                            f'range_min, range_max {numbers}')
        elif self._take('scan', scan.stamp, received, self.config.max_age.scan):
            self.pending.append(scan)

    def on_odom(self, state: State, received: int) -> None:
        """Take odometry."""
        numbers = (state.x, state.y, state.yaw, state.v, state.w)
        if not all(map(math.isfinite, numbers)):
            self.on_invalid('odom', f'x, y, yaw, v, w {numbers}')
            return
        latest = self.odometry.latest
        if latest is not None and state.stamp < latest.stamp - _BACK:
            self.forget_time()
        if not self._take('odom', state.stamp, received, self.config.max_age.odom):
            return
        latest = self.odometry.latest
        if latest is not None and state.stamp <= latest.stamp:
            self.odometry.clear()
        if self.odometry.add(state, self.config.odom_jump):
            self.count('odom_jumps')
            self.jump_stamp = state.stamp
            self.memory_void = True
            self._plausible.clear()
            self.pending.clear()
        if self.odometry.contradicts_itself:
            self._contradiction = state.stamp
        self.motion_disagrees = self._turns.on_odom(
            state.stamp, state.w, self.config.turn_disagreement) or (
            self._contradiction is not None and state.stamp - self._contradiction < SETTLE)

    def on_imu(self, sample: ImuSample, received: int) -> None:
        """Take an inertial sample; one that repeats bit by bit while the robot moves is none."""
        values = (*sample.angular_velocity, *sample.linear_acceleration)
        latest = self.odometry.latest
        moves = latest is not None and max(abs(latest.v), abs(latest.w)) > _MOVES
        self._repeats = self._repeats + 1 if moves and values == self._sample else 0
        self._sample = values
        if not all(map(math.isfinite, values)):
            self.on_invalid('imu', 'a value is not finite')
        elif self._take('imu', sample.stamp, received, self.config.max_age.imu):
            self._turns.on_imu(sample.stamp, sample.angular_velocity[2])

    def on_depth_points(self, points: DepthPoints, received: int) -> None:
        """Take height-filtered depth; points that are not finite are left out by the gate."""
        if points.xyz.ndim != 2 or points.xyz.shape[1] != 3 or len(points.kind) != len(points.xyz):
            self.on_invalid('depth', f'xyz {points.xyz.shape}, kind {points.kind.shape}; '
                            'accepted are (n, 3) and (n,)')
        elif self._take('depth', points.stamp, received, self.config.max_age.camera):
            self.pending.append(points)

    # -- our own nodes ------------------------------------------------------------------------

    def on_observation(self, stamp: int, received: int) -> None:
        """Note that sensor has released a set of observations."""
        self._take('observation', stamp, received, self.config.max_age.camera)

    def on_camera_scan(self, scan: Scan, received: int) -> None:
        """Take what perception says of the camera's view; it only adds obstacles."""
        if scan.ranges.shape != (SCAN_BEAMS,):
            self.on_invalid('camera_scan', f'{scan.ranges.shape} ranges; accepted is '
                            f'({SCAN_BEAMS},)')
        elif self._take('camera_scan', scan.stamp, received, self.config.max_age.camera):
            self.pending.append(scan)

    def on_entities(self, table: FloatArray, unsure: bool, stamp: int, received: int) -> None:
        """Take entities, for the rules. table: (n, len(ENTITY_FIELDS)), base."""
        if table.ndim != 2 or table.shape[1] != len(ENTITY_FIELDS):
            self.on_invalid('entities', f'shape {table.shape}; accepted is '
                            f'(n, {len(ENTITY_FIELDS)})')
        elif self._take('entities', stamp, received, self.config.max_age.camera):
            self._table = None if unsure else table

    def on_action(self, action: Action, received: int) -> None:
        """Take a proposal of the policy."""
        if not (math.isfinite(action.command.v) and math.isfinite(action.command.w)):
            self.on_invalid('action', f'v, w {action.command.v}, {action.command.w}')
        elif self._take('action', action.stamp, received, self.config.max_age.action):
            self.action, self.action_invalid = action, False

    # -- people -------------------------------------------------------------------------------

    def on_teleop(self, command: Command, stamp: int | None, received: int) -> None:
        """Take a command of a person; each holds for max_age.teleop."""
        if not (math.isfinite(command.v) and math.isfinite(command.w)):
            self.on_invalid('teleop', f'v, w {command.v}, {command.w}')
        elif self._take('teleop', stamp or None, received, self.config.max_age.teleop):
            self.teleop = command

    def on_emergency_stop(self, pressed: bool) -> None:
        """Latch the stop where `pressed`; false alone releases nothing."""
        self._emergency_input = pressed
        self.emergency = self.emergency or pressed

    def reset_emergency_stop(self) -> tuple[bool, str]:
        """Release the latch, unless the input still says stop. Returns (done, text)."""
        if self._emergency_input:
            return False, 'emergency_stop is still true; publish false first'
        self.emergency = False
        return True, 'emergency stop released'

    # -- the rest -----------------------------------------------------------------------------

    def on_clock(self, stamp: int, received: int) -> None:
        """Take simulated time."""
        if self.clock.stamp is None or stamp != self.clock.stamp:
            self.clock.stamp, self.clock.received = stamp, received

    def on_invalid(self, source: str, text: str) -> None:
        """Note a refused message, by topic or name. What the sender had said before ends with it.

        So a policy or a person whose messages go bad stops the robot at once; a sensor whose
        messages go bad ages.
        """
        self.invalid[source] = self.invalid.get(source, 0) + 1
        self.refused = f'{source}: {text}'
        self.invalid_new = True
        name = _NAME_OF.get(source, source)
        if name == 'action':
            self.action, self.action_invalid = None, True
        elif name == 'teleop':
            self.inputs['teleop'].clear()

    @property
    def table(self) -> FloatArray | None:
        """The latest entities; None where there are none or the encoder is unsure of them."""
        return self._table

    @property
    def motion_unchecked(self) -> bool:
        """Whether odometry or IMU is too slow for the check that `turn_disagreement` asks for."""
        return self.config.turn_disagreement > 0.0 and self._turns.unchecked

    @property
    def disagreement(self) -> float:
        """How long odometry and IMU may have parted before it shows, s."""
        return DISAGREEMENT * self._turns.window / NANOSECONDS

    @property
    def lidar_frozen(self) -> bool:
        """Whether the scan ignores the motion of the robot."""
        return self.config.watch_lidar and self._watch.frozen

    @property
    def lidar_implausible(self) -> bool:
        """Whether the latest scan contradicts those before it."""
        return self.config.watch_lidar and not self._plausible.believed

    def believes(self, scan: RawScan, pose: Pose2, told: RawScan | None = None) -> bool:
        """Whether a scan, taken at this pose, may enter the memory; call it in order of stamps.

        told: what it says of its stamp (mapping.deskew); None: the same. A frozen lidar shows in
        the scan as it came, since a correction that follows the robot would move it.
        """
        if not self.config.watch_lidar:
            return True
        was = self._watch.frozen
        if self._watch.update(scan, pose) and not was:
            self.count('lidar_frozen')
            self.memory_void = True  # walls were seen to recede with the robot
        if not self._plausible.check(told or scan, pose):
            self.count('lidar_implausible')
        return self._plausible.believed and not self._watch.frozen

    def health(self, now: int, steady: int, sim_time: bool) -> dict[str, Health]:
        """Judge the age of every input, by its name."""
        ages = self.config.max_age
        bounds = {'scan': ages.scan, 'odom': ages.odom, 'imu': ages.imu, 'action': ages.action,
                  'teleop': ages.teleop}
        health = {name: item.health(now, steady, sim_time, bounds.get(name, ages.camera),
                                    self.config.future_tolerance)
                  for name, item in self.inputs.items()}
        if self._repeats >= _FROZEN_IMU:
            health['imu'] = Health.STALE
        return health

    def forget_time(self) -> None:
        """Drop everything that carries a stamp: the clock was set back."""
        for item in self.inputs.values():
            item.clear()
        self.odometry.clear()
        self.pending.clear()
        self._turns.clear()
        self._contradiction = None
        self._watch.clear()
        self._plausible.clear()
        self.motion_disagrees = False
        self._table = None
        self.action, self.action_invalid = None, False
        self.jump_stamp = None
        self.jumped_back = self.memory_void = True

    def values(self) -> dict[str, str]:
        """Counts and rates for people."""
        found = {f'rate_{name}_hz': f'{item.rate:.1f}' for name, item in self.inputs.items()
                 if item.nominal and not math.isnan(item.interval)}
        found |= {f'late_{name}': str(item.late) for name, item in self.inputs.items()
                  if item.late}
        found |= {f'missed_{name}': str(item.missed) for name, item in self.inputs.items()
                  if item.missed}
        found |= {f'invalid_{name}': str(n) for name, n in self.invalid.items()}
        return found | {name: str(n) for name, n in self.counts.items()}

    def count(self, name: str) -> None:
        """Count an event."""
        self.counts[name] = self.counts.get(name, 0) + 1

    def _take(self, name: str, stamp: int | None, received: int, max_age: float) -> bool:
        return self.inputs[name].take(stamp, received, max_age)
