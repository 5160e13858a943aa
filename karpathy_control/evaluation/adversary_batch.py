"""Hostile episodes in the batched world: gate in the loop, judged apart, replayed with it off."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from karpathy_control.contracts.config import ControlConfig
from karpathy_control.contracts.layout import SCAN_BEAMS, SCAN_RANGE_MAX, scan_bearings
from karpathy_control.control.gate import UNCHANGED, Gate
from karpathy_control.evaluation import adversary_plant as plant
from karpathy_control.evaluation.adversary_commands import STRATEGIES, Hostile
from karpathy_control.evaluation.adversary_oracle import Oracle
from karpathy_control.evaluation.adversary_worlds import (
    PER_WORLD,
    make_start,
    make_world,
    scene_of,
)
from karpathy_control.evaluation.continuous import MOVING, Touch, first_touch
from karpathy_control.worlds.bank import pack
from karpathy_control.worlds.batched import CONTROL_STEP, SUBSTEPS, BatchedWorld, Leg
from karpathy_control.worlds.variation import Variation

EPISODE = 20.0  # s
TICKS = round(EPISODE / CONTROL_STEP)
RANGE_MIN = 0.05  # m, of the observation scan
STANDING = 0.02, 0.05  # m/s and rad/s up to which a robot stands
_REMEMBERED = 20  # scans before a contact in which a mover is looked for
_ORACLE_EVERY = 16  # ticks
_SAME = 1e-6  # m or rad between the simulator's last pose and the plant's


@dataclass
class Tally:
    """What a run of episodes came to."""

    episodes: int = 0
    commands: int = 0
    provocative: int = 0
    # how many commands came out unchanged, limited, braking and unavoidable
    status: list[int] = dataclasses.field(default_factory=lambda: [0, 0, 0, 0])
    travel: list[float] = dataclasses.field(default_factory=list)  # m, each episode
    contacts: list[dict[str, object]] = dataclasses.field(default_factory=list)
    proved: int = 0  # commands that the oracle proves safe
    passed: int = 0  # of them, those that the gate left as they were


def variation(control: ControlConfig, kind: str) -> Variation:
    """The errors of an episode, up to what the gate states: delay up to its reaction time."""
    gate = control.gate
    return dataclasses.replace(
        Variation(), delay=(0.0, gate.reaction_time), drift=(0.0, 1.5 * gate.drift_per_metre),
        turn_drift=(0.0, 1.5 * gate.drift_per_radian), scan_noise=(0.0, 0.01),
        scan_drop=(0.0, 0.03), camera_range=(0.0, 0.0))


def run(kind: str, seed: int, first: int, count: int, control: ControlConfig,
        envs: int) -> Tally:
    """Episodes `first` to `first + count` of a run, at most `envs` side by side."""
    tally = Tally()
    for at in range(first, first + count, envs):
        _Batch(kind, seed, np.arange(at, min(at + envs, first + count)), control).drive(tally)
    return tally


class _Batch:
    """Episodes side by side, in step from start to end."""

    def __init__(self, kind: str, seed: int, episodes: NDArray[np.int64],
                 control: ControlConfig) -> None:
        self._kind, self._seed, self._episodes, self._control = kind, seed, episodes, control
        n = len(episodes)
        numbers = episodes // PER_WORLD
        self._first_world = int(numbers[0])
        self._worlds = [make_world(seed, k, kind, control)
                        for k in range(self._first_world, int(numbers[-1]) + 1)]
        self._scenes = [scene_of(world, control) for world in self._worlds]
        self._world_of = numbers - self._first_world
        self._tracks: dict[int, NDArray[np.float64]] = {}
        rngs = [np.random.default_rng([seed, int(e), 5]) for e in episodes]
        legs = [Leg(int(w), make_start(self._worlds[w], self._scenes[w], rng, control), (0.0, 0.0))
                for w, rng in zip(self._world_of, rngs, strict=True)]
        self._bank = pack(self._worlds)
        self._world = BatchedWorld(self._bank, n, control.robot, variation(control, kind))
        self._world.reset(np.arange(n), legs, [int(rng.integers(2**62)) for rng in rngs])
        for name, bound in (('drift', control.gate.drift_per_metre),
                            ('turn_drift', control.gate.drift_per_radian)):
            drawn = self._world.trait(name)  # a view: at most the stated bound
            np.clip(drawn, -bound, bound, out=drawn)
        self._hostile = Hostile(n, control.robot)
        self._hostile.begin(np.array([rng.integers(2**63, dtype=np.uint64) for rng in rngs]))
        # whole scans are lost as well as beams, but where things move they must be seen
        share = 0.0 if kind == 'moving' else 0.1
        self._lost = np.array([rng.random(TICKS) < share * rng.random() for rng in rngs])
        self._starts = np.array([leg.start for leg in legs])
        self._gate = Gate(control, n)
        self._oracle = Oracle(control)

    def drive(self, tally: Tally) -> None:
        """Run to the end and add what happened."""
        w, n = self._world, len(self._episodes)
        proposals, applied = np.zeros((n, TICKS, 2)), np.zeros((n, TICKS, 2))
        strategies = np.zeros((n, TICKS), np.int8)
        status = np.zeros((n, TICKS), np.int8)
        recent = np.full((_REMEMBERED, n, SCAN_BEAMS), np.nan, np.float32)
        witness: dict[int, NDArray[np.float32]] = {}  # scans before a contact, newest last
        bearings = scan_bearings()
        for k in range(TICKS):
            recent[k % _REMEMBERED] = w.scan
            proposals[:, k] = wish = self._hostile.propose(
                self._bank, w.world, w.true_pose, w.scan, w.mover_xy)
            scan = np.where(self._lost[:, k, None], np.float32(np.nan), w.scan)
            self._gate.observe_scan(w.odom_pose, scan, float(bearings[0]),
                                    2.0 * math.pi / SCAN_BEAMS, (0.0, 0.0, 0.0), RANGE_MIN,
                                    SCAN_RANGE_MAX, w.time)
            result = self._gate.filter(w.odom_pose, w.velocity, wish, w.time)
            applied[:, k], status[:, k] = result.applied, result.status
            strategies[:, k] = self._hostile.strategy
            if self._kind == 'static':
                self._ask_oracle(k, wish, status[:, k], tally)
            before = w.contact.copy()
            w.step(result.applied)
            for i in np.flatnonzero(w.contact & ~before):
                order = [(k + 1 + j) % _REMEMBERED for j in range(_REMEMBERED)]
                witness[int(i)] = recent[order, i].copy()
        for slot in range(n):
            self._judge(slot, proposals[slot], applied[slot], strategies[slot], status[slot],
                        witness.get(slot), tally)

    def _ask_oracle(self, k: int, wish: NDArray[np.float64], status: NDArray[np.int8],
                    tally: Tally) -> None:
        w = self._world
        for i in np.flatnonzero((self._episodes + k) % _ORACLE_EVERY == 0):
            if not w.contact[i] and self._oracle.proves(
                    self._scenes[self._world_of[i]], w.true_pose[i], w.true_velocity[i], wish[i]):
                tally.proved += 1
                tally.passed += int(status[i] == UNCHANGED)

    def _judge(self, i: int, proposals: NDArray[np.float64], applied: NDArray[np.float64],
               strategies: NDArray[np.int8], status: NDArray[np.int8],
               witness: NDArray[np.float32] | None, tally: Tally) -> None:
        w, number = self._world, int(self._world_of[i])
        traits = np.array([w.trait(name)[i] for name in plant.TRAITS])
        poses, speeds = plant.drive(self._starts[i], applied, traits)
        scene, polygon = self._scenes[number], self._control.robot.polygon
        tracks = self._tracks_of(number)
        touch = first_touch(polygon, scene, poses, plant.SUBSTEP, tracks)
        end = TICKS
        if touch.kind or w.contact[i]:
            time = touch.time if touch.kind else float('nan')
            end = min(TICKS, math.ceil(touch.time / CONTROL_STEP)) if touch.kind else TICKS
            record: dict[str, object] = {
                'episode': int(self._episodes[i]), 'world': self._first_world + number,
                'time': round(time, 3), 'strategy': STRATEGIES[strategies[end - 1]],
                'status': int(status[end - 1])}
            if touch.kind == MOVING:
                record.update(self._blame(i, touch, speeds, poses, tracks, witness))
            else:
                record.update(kind='static', fault=True)
            tally.contacts.append(record)
        else:
            off = poses[-1] - w.true_pose[i]
            off[2] = (off[2] + math.pi) % (2.0 * math.pi) - math.pi
            if np.abs(off).max() > _SAME:
                raise RuntimeError(f'episode {self._episodes[i]}: the judged motion ends {off} '
                                   'from where the simulator is')
        bare, _ = plant.drive(self._starts[i], proposals, traits)
        tally.provocative += int(first_touch(polygon, scene, bare, plant.SUBSTEP,
                                             tracks).kind > 0)
        steps = np.diff(poses[:end * SUBSTEPS + 1, :2], axis=0)
        tally.travel.append(round(float(np.linalg.norm(steps, axis=1).sum()), 2))
        tally.episodes += 1
        tally.commands += end
        for value in range(len(tally.status)):
            tally.status[value] += int(np.count_nonzero(status[:end] == value))

    def _tracks_of(self, number: int) -> NDArray[np.float64]:
        if number not in self._tracks:
            self._tracks[number] = plant.tracks(self._worlds[number], TICKS * SUBSTEPS + 1)
        return self._tracks[number]

    def _blame(self, i: int, touch: Touch, speeds: NDArray[np.float64],
               poses: NDArray[np.float64], tracks: NDArray[np.float64],
               witness: NDArray[np.float32] | None) -> dict[str, object]:
        """Whose fault a contact with something that moves is, by the stated invariant."""
        at = min(len(speeds) - 1, math.ceil(touch.time / plant.SUBSTEP))
        v, w = speeds[at]
        mover = self._worlds[int(self._world_of[i])].movers[touch.which]
        # the touched point of the footprint lies towards the centre of the mover, near enough
        share = touch.time / plant.SUBSTEP
        k = min(int(share), len(tracks) - 2)
        centre = tracks[k, touch.which, :2] + (share - k) * (
            tracks[k + 1, touch.which, :2] - tracks[k, touch.which, :2])
        side = nearest_of_outline(self._control.robot.polygon, (touch.x, touch.y, touch.yaw),
                                  centre)
        in_view = abs(math.atan2(side[1], side[0])) <= 0.5 * self._world.trait('lidar_fov')[i]
        seen = self._seen_for(touch, poses, tracks, witness)
        fault, cause = blame(float(v), float(w), mover.speed, bool(in_view), seen, self._control)
        return {'kind': cause, 'fault': fault, 'v': round(float(v), 3), 'w': round(float(w), 3),
                'seen_s': round(seen, 3), 'mover_speed': round(mover.speed, 3)}

    def _seen_for(self, touch: Touch, poses: NDArray[np.float64], tracks: NDArray[np.float64],
                  witness: NDArray[np.float32] | None) -> float:
        """For how long before the contact every scan showed the mover, s."""
        if witness is None:
            return math.inf  # only the judge saw the contact: the gate gets no benefit of doubt
        last = int(touch.time / CONTROL_STEP)
        seen_since = touch.time
        for back in range(min(_REMEMBERED, last + 1)):
            k = last - back
            if not shows(witness[-1 - back], poses[k * SUBSTEPS],
                         tracks[k * SUBSTEPS, touch.which]):
                break
            seen_since = k * CONTROL_STEP
        return float(touch.time - seen_since)


def blame(v: float, w: float, mover_speed: float, in_view: bool, seen: float,
          control: ControlConfig) -> tuple[bool, str]:
    """Whether a contact with a mover is the robot's fault, and its kind.

    v m/s and w rad/s of the robot; in_view: the touched side is in the field of view; seen: for
    how long the mover had been seen without a gap, s.
    """
    if abs(v) <= STANDING[0] and abs(w) <= STANDING[1]:
        return False, 'standing'
    if mover_speed > control.gate.obstacle_speed:
        return False, 'too fast'
    if not in_view:
        return False, 'rear-end'
    if seen < control.gate.reaction_time:
        return False, 'out of occlusion'
    return True, 'at fault'


def nearest_of_outline(polygon: NDArray[np.float64], pose: tuple[float, float, float],
                       point: NDArray[np.float64]) -> NDArray[np.float64]:
    """The point (2,) m in base of a convex footprint (n, 2) that is nearest to a world point."""
    c, s = math.cos(pose[2]), math.sin(pose[2])
    dx, dy = point[0] - pose[0], point[1] - pose[1]
    local = np.array((c * dx + s * dy, c * dy - s * dx))
    edge = np.roll(polygon, -1, axis=0) - polygon
    share = np.clip(((local - polygon) * edge).sum(1) / (edge * edge).sum(1), 0.0, 1.0)
    points = polygon + share[:, None] * edge
    return points[np.argmin(np.linalg.norm(points - local, axis=1))]


def shows(scan: NDArray[np.float32], pose: NDArray[np.float64],
          mover: NDArray[np.float64]) -> bool:
    """Whether a beam of a scan (n,) from a true pose (3,) ends on a mover (3,) x y radius."""
    angle = scan_bearings() + pose[2]
    dx = pose[0] + scan * np.cos(angle) - mover[0]
    dy = pose[1] + scan * np.sin(angle) - mover[1]
    with np.errstate(invalid='ignore'):
        return bool(np.any(np.hypot(dx, dy) < mover[2] + 0.05))

