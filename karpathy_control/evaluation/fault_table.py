"""The table of faults: what is broken, which answer is expected, how soon, and how it is judged.

An answer is a zero command while the controller says that it stopped, or a named degraded mode.
Rows that lose no data (a message twice, two messages in the other order) may be tolerated: the
robot may go on, as long as it touches nothing. So an answer has no deadline there either: memory
that is full is felt when a message needs a new page of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

STOP_LIMIT = 0.3  # s from the fault to the answer
FROZEN_LIMIT = 0.5  # s of motion that should have changed what is frozen
STATE_PERIOD = 0.05  # s: modes are published so often, so a mode is known that much later
STOPPED = ('stopped', 'emergency_stop', 'inactive')
ZERO = 1e-3  # m/s and rad/s
BRAKING = 0.92  # of the highest wheel speed since the fault: below it the base brakes
WHEEL_NOISE = 0.3  # rad/s
ORDINARY = {'gate_limited', 'gate_braking', 'no_goal'}  # reasons that tell nothing of a fault


@dataclass(frozen=True)
class Row:
    """One fault and the answer that is expected."""

    name: str
    kind: str  # which of evaluation/faults.py applies it
    target: tuple[str, ...]  # topics or node
    answers: tuple[str, ...]  # reasons of which one must be named
    fault: str = ''  # of the injector
    limit: float = STOP_LIMIT
    seconds: float = 1.5  # how long it lasts
    tolerated: bool = False  # going on is right too
    at_base: bool = False  # nobody is left to command: the base itself must stop


_LIDAR = ('lidar_lost', 'lidar_frozen', 'lidar_implausible')
_CAMERA = ('camera_lost',)
_LEARNED = ('perception_silent', 'fallback')
_ODOM = ('odom_lost', 'odom_jump', 'motion_disagrees', 'clock_jumped_back')
_IMU = ('imu_lost', 'motion_disagrees')
_CLOCK = ('clock_stalled', 'clock_jumped_back')
_TIME = ('silent', 'frozen', 'stuck', 'late', 'early', 'disordered', 'duplicated', 'jumping')
_VIEWS = ('scan', 'camera', 'image', 'depth')  # may be the same twice while nothing moves
# The last good intrinsics stay in use.
_KEPT = ('camera_info',)
_LOSSLESS = ('disordered', 'duplicated')

# target -> topics, reasons that answer, faults
SENSOR_FAULTS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    'scan': (('scan',), _LIDAR, (*_TIME, 'nan', 'inf', 'size', 'frame', 'flipped')),
    'camera': (('camera/image_raw', 'camera/camera_info', 'camera/depth'), _CAMERA,
               ('silent', 'frozen', 'stuck', 'late', 'early', 'jumping', 'frame')),
    'image': (('camera/image_raw',), (*_CAMERA, *_LEARNED),
              (*_TIME, 'size', 'encoding', 'frame', 'saturated')),
    'depth': (('camera/depth',), ('depth_lost', *_CAMERA),
              (*_TIME, 'nan', 'inf', 'size', 'encoding', 'frame')),
    'camera_info': (('camera/camera_info',), (*_CAMERA, *_LEARNED), ('nan', 'size', 'frame')),
    'odom': (('odom',), _ODOM, (*_TIME, 'nan', 'inf', 'frame', 'bias')),
    'imu': (('imu',), _IMU, (*_TIME, 'nan', 'inf', 'frame', 'bias')),
    # A clock that leads makes every input old; it goes back when that ends.
    'clock': (('/clock',), (*_CLOCK, 'odom_lost', 'sensors_lost', 'action_stale'),
              ('silent', 'stuck', 'early', 'jumping')),
    'sensors': (('camera/image_raw', 'camera/camera_info', 'camera/depth', 'scan'),
                ('sensors_lost',), ('silent',)),
}
_SILENCE = {
    'sensor': ('sensor_silent', 'action_stale', *_CAMERA),
    'perception': (*_LEARNED, 'action_stale', *_CAMERA),
    'policy': ('policy_silent', 'action_stale', 'fallback'),
    'control': (),
}


def _sensor_rows() -> Iterator[Row]:
    for target, (topics, answers, faults) in SENSOR_FAULTS.items():
        for fault in faults:
            frozen = fault in ('frozen', 'stuck')
            yield Row(f'{target}_{fault}', 'sensor', topics, answers, fault,
                      limit=FROZEN_LIMIT if frozen and target in _VIEWS else STOP_LIMIT,
                      seconds=2.0 if frozen else 1.5,
                      tolerated=fault in _LOSSLESS or target in _KEPT)


def _node_rows() -> Iterator[Row]:
    for node, answers in _SILENCE.items():
        for kind in ('stop', 'kill', 'slow'):
            yield Row(f'{node}_{kind}', kind, (node,), answers, at_base=node == 'control')


def _other_rows() -> Iterator[Row]:
    for node in ('perception', 'policy'):
        yield Row(f'{node}_weights', 'weights', (node,), _SILENCE[node], seconds=4.0)
    yield Row('second_commander', 'commander', ('cmd_vel',), ('second_commander',))
    yield Row('log_disk_full', 'disk', ('control',), ('audit_lost',))
    yield Row('shared_memory_full', 'memory', (), (), seconds=3.0, tolerated=True)
    yield Row('shared_memory_full_kill', 'memory', ('perception',), _SILENCE['perception'],
              seconds=4.0)


ROWS: tuple[Row, ...] = (*_sensor_rows(), *_node_rows(), *_other_rows())
BY_NAME = {row.name: row for row in ROWS}

# The most telling ones, one of a kind, for a quick check.
SHORT = ('scan_silent', 'scan_frozen', 'depth_nan', 'odom_bias', 'sensors_silent', 'policy_stop',
         'perception_kill', 'control_kill', 'second_commander')


def _seconds(at: int | None, start: int) -> float | None:
    return None if at is None else round((at - start) * 1e-9, 3)


def first_zero(commands: Sequence[Sequence[float]], start: int, end: int) -> int | None:
    """When the first zero command between two steady times (ns) was received."""
    return next((int(at) for at, v, w in commands
                 if start <= at <= end and abs(v) < ZERO and abs(w) < ZERO), None)


def first_braking(wheels: Sequence[Sequence[float]], start: int, end: int) -> int | None:
    """When the wheels began to slow down for good, that is to come to a stand, before `end`."""
    highest, begun = 0.0, None
    for at, speed in wheels:
        if not start <= at <= end:
            continue
        highest = max(highest, speed)
        if speed >= BRAKING * highest - WHEEL_NOISE:
            begun = None
        elif begun is None:
            begun = int(at)
        if speed < WHEEL_NOISE:
            return begun if begun is not None else int(at)
    return None


def judge(row: Row, start: int, end: int, record: Mapping[str, Any]) -> dict[str, Any]:
    """What was answered between the fault and its end (steady ns), as far as it is recorded."""
    states = [s for s in record['states'] if start <= s[0] <= end]
    before = [s for s in record['states'] if s[0] < start]
    held = set(before[-1][2].split()) if before else set()
    named = next((s for s in states if set(row.answers) & (set(s[2].split()) - held)), None)
    stopped = next((s for s in states if s[1] in STOPPED), None)
    zero = first_zero(record['commands'], start, end)
    if row.at_base:
        stop = first_braking(record['wheels'], start, end)
        answer = 'base' if stop is not None else ''
    elif zero is not None and stopped is not None:
        answer, stop = 'stop', zero
        if named is not None and named[1] not in STOPPED and named[0] < zero:
            answer, stop = 'degraded', int(named[0])
    elif named is not None:
        answer, stop = 'degraded', int(named[0])
    else:
        answer, stop = '', None
    late = STATE_PERIOD if answer == 'degraded' else 0.0
    in_time = stop is not None and (stop - start) * 1e-9 <= row.limit + late
    answered = row.tolerated or (in_time and (row.at_base or named is not None))
    shown = named or stopped or (states[-1] if states else (0, '', ''))
    reasons = {reason for state in states for reason in state[2].split()}
    return {'fault': row.name, 'stop_s': _seconds(stop, start),
            'answer': answer or ('tolerated' if row.tolerated else 'none'), 'mode': shown[1],
            'reasons': sorted(reasons - held - ORDINARY), 'answered': answered}


def markdown(results: Sequence[Mapping[str, Any]]) -> str:
    """The table of the README."""
    lines = ['| fault | answer | after s | mode | reasons | recovered after s | contacts | |',
             '| --- | --- | --- | --- | --- | --- | --- | --- |']
    for r in results:
        lines.append(f'| `{r["fault"]}` | {r["answer"]} | {_text(r["stop_s"])} | `{r["mode"]}` | '
                     + ' '.join(f'`{x}`' for x in r['reasons'])
                     + f' | {_text(r["recover_s"])} | {r["contact"]} | '
                     f'{"" if r["passed"] else "**fails**"} |')
    return '\n'.join(lines)


def line(r: Mapping[str, Any]) -> str:
    """One row as plain text."""
    return (f'{"ok  " if r["passed"] else "FAIL"} {r["fault"]:20} {r["answer"]:9} '
            f'{_text(r["stop_s"]):>6} s  {r["mode"]:11} back {_text(r["recover_s"]):>6} s  '
            f'contacts {r["contact"]}  {" ".join(r["reasons"])}')


def _text(value: float | None) -> str:
    return '-' if value is None else f'{value:.2f}'
