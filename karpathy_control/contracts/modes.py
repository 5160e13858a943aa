"""Modes and reasons that `control/state` publishes: the whole vocabulary, in one place."""

from __future__ import annotations

from enum import Enum


class Mode(str, Enum):
    """What the controller is doing."""

    INACTIVE = 'inactive'  # not activated, or shutting down: zero
    STOPPED = 'stopped'  # a safety reason holds the robot: zero
    IDLE = 'idle'  # healthy, nowhere to go: zero
    AUTONOMOUS = 'autonomous'  # follows the policy
    CAMERA_ONLY = 'camera_only'  # lidar lost: reduced speed, only into space the camera saw
    LIDAR_ONLY = 'lidar_only'  # camera lost, or there is none: lidar geometry
    TELEOP = 'teleop'  # a person drives, through the gate
    EMERGENCY_STOP = 'emergency_stop'  # latched until reset


class Reason(str, Enum):
    """Why; several can hold at once."""

    WAITING_FOR_INPUT = 'waiting_for_input'  # nothing has arrived yet since activation
    NO_GOAL = 'no_goal'
    GOAL_REACHED = 'goal_reached'
    GOAL_BLOCKED = 'goal_blocked'  # no progress for goal.blocked_time
    GOAL_CANCELLED = 'goal_cancelled'
    GOAL_REFUSED = 'goal_refused'  # frame unknown or value not finite
    LIDAR_LOST = 'lidar_lost'
    CAMERA_LOST = 'camera_lost'
    DEPTH_LOST = 'depth_lost'  # of the camera only the learned scan is left
    SENSORS_LOST = 'sensors_lost'  # both
    LIDAR_FROZEN = 'lidar_frozen'  # the scan does not follow the motion
    LIDAR_IMPLAUSIBLE = 'lidar_implausible'  # it contradicts the scans before it
    SENSOR_SILENT = 'sensor_silent'  # the node: nothing of its observations arrives
    PERCEPTION_SILENT = 'perception_silent'  # no entities, while sensor speaks
    POLICY_SILENT = 'policy_silent'  # nor actions, while what it acts on arrives
    FALLBACK = 'fallback'  # the policy follows the map: perception is silent or unsure
    ODOM_LOST = 'odom_lost'
    ODOM_JUMP = 'odom_jump'
    MOTION_DISAGREES = 'motion_disagrees'  # odometry contradicts itself or the IMU
    MOTION_UNCHECKED = 'motion_unchecked'  # odometry or IMU too slow to be compared
    IMU_LOST = 'imu_lost'
    INPUT_SLOW = 'input_slow'  # comes at less than half of the rate in the interface table
    ACTION_STALE = 'action_stale'
    ACTION_INVALID = 'action_invalid'  # non-finite or future-stamped
    CLOCK_STALLED = 'clock_stalled'
    CLOCK_JUMPED_BACK = 'clock_jumped_back'
    SECOND_COMMANDER = 'second_commander'  # another publisher on cmd_vel
    INPUT_INVALID = 'input_invalid'  # a message that fails its checks
    EMERGENCY_STOP = 'emergency_stop'
    GATE_LIMITED = 'gate_limited'  # the command differs from the proposal
    GATE_BRAKING = 'gate_braking'  # nothing admissible: the stored braking manoeuvre
    UNAVOIDABLE = 'unavoidable'  # no safe manoeuvre is left: the least closing speed
    RULE = 'rule'  # a zone or a rule over entities limits the speed
    KEEP_OUT = 'keep_out'  # the robot stands inside a keep-out zone
    AUDIT_LOST = 'audit_lost'  # a decision could not be written to the log
    NOT_ACTIVE = 'not_active'
    COMPILING = 'compiling'  # control loads or compiles its kernels: the first start takes minutes


class Override(str, Enum):
    """Who commands, in falling priority."""

    EMERGENCY_STOP = 'emergency_stop'
    TELEOP = 'teleop'
    POLICY = 'policy'
    NOBODY = 'nobody'
