"""Manoeuvres: what the search finds against shapely, what following does, what blocks the way."""

import math

import numpy as np
import pytest
from planar import drive
from shapely import affinity
from shapely.geometry import MultiPoint, Polygon

from karpathy_control.contracts.config import PolicyConfig
from karpathy_control.policy import manoeuvre as m
from karpathy_control.policy import pose_search as ps
from karpathy_control.policy.cost_to_go import LETHAL
from karpathy_control.policy.fan import POINTS, REACTION, footprint_clearance, slabs_of

ROBOT = PolicyConfig().robot
BODY = Polygon(ROBOT.polygon)
SLABS = slabs_of(ROBOT.polygon)
RADIUS = ROBOT.circumscribed_radius
LIMITS = np.array([1.2, 0.3, 2.0, 2.0, 2.5, 6.0, REACTION])
CELL, SIZE = 0.1, 96
NOBODY = np.zeros((0, 6))


def line(a, b):
    a, b = np.array(a, float), np.array(b, float)
    return np.linspace(a, b, 2 + int(np.hypot(*(b - a)) / 0.03))


class Place:
    """Obstacle points about a robot, and a cost-to-go that knows the goal but no obstacle."""

    def __init__(self, points, goal, pose=(0.0, 0.0, 0.0)):
        self.state = m.make_manoeuvre(1)
        self.points = np.array(points, float).reshape(-1, 2)
        self.pose = np.array(pose, float)
        self.origin = np.floor(self.pose[:2] / CELL).astype(np.int64) - SIZE // 2
        centres = (np.arange(SIZE) + 0.5) * CELL
        self.field = np.hypot(centres[None] + self.origin[0] * CELL - goal[0],
                              centres[:, None] + self.origin[1] * CELL - goal[1]).astype('f4')
        self.seen = np.ones((SIZE, SIZE), np.uint8)
        self.work = np.zeros(POINTS, np.int32)

    def in_base(self):
        px, py = np.zeros((2, POINTS), np.float32)
        c, s = math.cos(self.pose[2]), math.sin(self.pose[2])
        d = self.points - self.pose[:2]
        px[:len(d)], py[:len(d)] = c * d[:, 0] + s * d[:, 1], c * d[:, 1] - s * d[:, 0]
        return px, py, len(d)

    def search(self, banned=(False, False, False)):
        poses, kinds = np.zeros((ps.LONGEST, 3)), np.zeros(ps.LONGEST, np.int64)
        self.reached = np.zeros((ps.SIDE, ps.SIDE), np.bool_)
        count = ps.search(SLABS, RADIUS, *self.in_base(), self.field, self.origin, self.seen,
                         self.origin, CELL, self.pose, np.array(banned), self.work, poses, kinds,
                         self.reached)
        return poses[:count], kinds[:count]

    def step(self, movers=NOBODY, gain=0.0):
        command = np.zeros(2, np.float32)
        active = m.manoeuvre(self.state, 0, SLABS, RADIUS, *self.in_base(), movers, self.field,
                             self.origin, self.seen, self.origin, CELL, self.pose, LIMITS,
                             ps._value(0.0, 0.0, self.pose, self.field, self.origin, CELL), gain,
                             self.work, command)
        return active, command.tolist()

    def move(self, command, dt=0.05):
        v, w = command
        heading = self.pose[2] + 0.5 * dt * w
        self.pose += dt * np.array((v * math.cos(heading), v * math.sin(heading), w))

    def clearance(self):
        return footprint_clearance(SLABS, *self.in_base(), 0.0, 0.0, 1.0, 0.0, self.work)


# A slot 0.56 m wide, closed ahead: too narrow to turn in for corners that are 0.31 m off.
SLOT = np.concatenate([line((-0.5, 0.28), (0.5, 0.28)), line((-0.5, -0.28), (0.5, -0.28)),
                       line((0.5, -0.28), (0.5, 0.28))])


def of_body(x, y, yaw):
    return affinity.translate(affinity.rotate(BODY, yaw, (0, 0), use_radians=True), x, y)


@pytest.mark.parametrize('goal', [(-3.0, 0.0), (-2.0, 2.0), (0.0, -3.0)])
def test_out_of_a_slot_it_backs_and_every_pose_is_free(goal):
    place = Place(SLOT, goal)
    poses, kinds = place.search()
    world = MultiPoint(SLOT)
    assert kinds[0] == -1 and len(poses) > 4
    last = np.zeros(3)
    for pose, kind in zip(poses, kinds, strict=True):
        assert of_body(*pose).distance(world) > ps.KEEP - 1e-3  # slabs look at 0.1 mm
        step = pose[:2] - last[:2]
        heading = 0.5 * (pose[2] + last[2])
        along = step @ (math.cos(heading), math.sin(heading))
        aside = step @ (-math.sin(heading), math.cos(heading))
        assert along == pytest.approx(ps.STRIDE * kind, abs=1e-3) and abs(aside) < 1e-3
        assert (kind, round(abs(pose[2] - last[2]), 3)) in {
            (int(k), round(abs(turn), 3)) for k, turn, _ in ps.STEPS}
        last = pose
    gained = math.hypot(*goal) - math.hypot(*(poses[-1, :2] - goal))
    assert gained > ps.GAIN - 0.02  # the field is read between its cells
    assert gained - ps.STRIDE < ps.GAIN + 0.02  # and no step too many


def test_no_way_backwards_into_what_was_never_seen():
    place = Place(SLOT, (-3.0, 0.0))
    place.seen[:] = 0
    assert len(place.search()[0]) == 0
    ahead = Place([], (3.0, 0.0))
    ahead.seen[:] = 0  # ahead the gate will see for itself
    assert set(ahead.search()[1].tolist()) == {1}


def test_what_is_banned_is_not_used():
    assert len(Place(SLOT, (-3.0, 0.0)).search(banned=(True, False, False))[0]) == 0
    poses, kinds = Place([], (-3.0, 0.0)).search(banned=(True, False, False))
    assert -1 not in kinds and len(poses)
    poses, kinds = Place([], (-1.0, 2.0)).search(banned=(False, True, False))
    assert 0 not in kinds and len(poses)


@pytest.mark.parametrize('yaw', [0.0, 2.0, -2.8])
def test_following_leads_out(yaw):
    """Nobody has moved for 15 observations; then out it comes, a little off the plan at most."""
    c, s = math.cos(yaw), math.sin(yaw)
    turn = np.array([[c, -s], [s, c]])
    place = Place(SLOT @ turn.T, turn @ (-3.0, 0.3), (0.0, 0.0, yaw))
    place.state.anchor[0] = place.pose
    assert [place.step()[0] for _ in range(m.PATIENCE - 1)] == [False] * (m.PATIENCE - 1)
    active, command = place.step()
    assert active and command[0] < -0.04
    while active:
        place.move(command)
        assert place.clearance() > ps.KEEP - 0.02
        active, command = place.step()
    assert math.hypot(*place.pose[:2]) > ps.GAIN - 0.1 and place.state.steps[0] == 0


def test_a_step_that_is_refused_is_tried_another_way():
    """The robot does not move: to turn is given up, and backwards it goes."""
    place = Place([], (-3.0, 0.0))
    place.state.still[0] = m.PATIENCE
    turning = place.step()
    assert turning[0] and turning[1][0] == 0.0 and abs(turning[1][1]) > 0.5
    assert [place.step() for _ in range(m.STALLED)] == [turning] * m.STALLED
    active, command = place.step()
    assert active and command[0] < 0.0
    assert place.state.banned[0].tolist() == [False, True, False]
    place.pose[0] += 2.0 * m.NEAR  # it has got on: what was refused there may pass here
    place.step()
    assert not place.state.banned[0].any()


def test_where_everything_is_refused_it_begins_anew():
    place = Place(SLOT, (-3.0, 0.0))
    place.state.still[0] = m.PATIENCE
    for _ in range(m.STALLED + 1):
        assert place.step()[1][0] < 0.0
    after = [place.step() for _ in range(2 * m.PATIENCE)]
    assert any(command[0] < 0.0 for _, command in after)


def turned_on(place, angle):
    """One observation after the robot has turned to `angle` from where it last got on."""
    place.pose[2] = angle
    return place.step()[0]


def test_to_turn_on_is_to_get_on():
    """0.21 rad in an observation at most, so 15 of them to turn about; then it has stood."""
    place = Place([], (-3.0, 0.0))
    place.state.least[0] = place.state.value[0] = 3.0
    angles = np.arange(1, 15) * 1.05 * m.TURNED
    assert not any(turned_on(place, angle) for angle in angles)
    assert [place.step()[0] for _ in range(m.PATIENCE - 1)] == [False] * (m.PATIENCE - 1)
    assert place.step()[0]


def test_to_turn_to_and_fro_is_to_stand():
    place = Place([], (-3.0, 0.0))
    place.state.least[0] = place.state.value[0] = 3.0
    assert not turned_on(place, 1.05 * m.TURNED)
    # The same heading, as odometry may tell it, is no farther.
    active = [turned_on(place, side * 1.05 * m.TURNED - 2.0 * math.pi * (side < 0))
              for side in (1, -1) * m.PATIENCE][:m.PATIENCE]
    assert active == [False] * (m.PATIENCE - 1) + [True]


def test_to_drive_to_and_fro_is_not_to_get_on():
    """0.2 m on and 0.2 m back: never so long in one place, but no nearer to the goal either."""
    place = Place([], (3.0, 0.0))
    place.step()  # where it is: 3 m to go
    active = []
    for k in range(m.STALE):
        place.pose[0] = 0.0 if k % 2 else -0.2
        active.append(place.step()[0])
    assert active == [False] * (m.STALE - 1) + [True]
    place = Place([], (3.0, 0.0))
    place.step()
    for _ in range(2 * m.STALE):  # 2 cm nearer each time is
        place.pose[0] += 0.02
        assert not place.step()[0]


def test_another_way_that_is_longer_gets_its_time():
    place = Place([], (3.0, 0.0))
    place.step()
    active = []
    for k in range(2 * m.STALE):
        place.pose[0] = 0.0 if k % 2 else -0.2
        if k == m.STALE - 2:
            place.field += 1.1 * m.REPLANNED  # seen at -0.2, and the least at 0, one later
        active.append(place.step()[0])
    assert active == [False] * (2 * m.STALE - 1) + [True]


@pytest.mark.parametrize(('gain', 'shut', 'active'), [
    (1.1 * m.HANDOVER, False, False), (0.9 * m.HANDOVER, False, True),
    (1.1 * m.HANDOVER, True, True)])
def test_where_a_command_wins_as_much_it_takes_over(gain, shut, active):
    """Beside a wall at CLOSE or nearer the manoeuvre goes on, whatever a command promises."""
    half = 0.208 + (0.5 if shut else 1.5) * ps.CLOSE
    place = Place(line((-0.5, half), (1.5, half)), (3.0, 0.0))
    place.state.still[0] = m.PATIENCE
    assert place.step()[0] and (place.state.kinds[0, :place.state.steps[0]] == 1).all()
    assert place.step(gain=gain)[0] == active and (place.state.steps[0] > 0) == active


def test_a_manoeuvre_that_still_backs_is_not_cut_short():
    place = Place(SLOT, (-3.0, 0.0))
    place.state.still[0] = m.PATIENCE
    assert place.step()[0]
    assert place.step(gain=10.0)[0]


def test_what_comes_into_the_way_ends_it():
    place = Place(SLOT, (-3.0, 0.0))
    place.state.still[0] = m.PATIENCE
    assert place.step()[0]
    place.points = np.concatenate([SLOT, line((-0.6, -0.2), (-0.6, 0.2))])
    assert place.step() == (False, [0.0, 0.0]) and place.state.steps[0] == 0


def test_beside_something_that_moves_to_stand_is_right():
    place = Place(SLOT, (-3.0, 0.0))
    mover = np.array([[1.6, 0.0, -0.5, 0.0, 0.2, 0.9]])
    place.state.still[0] = m.PATIENCE
    assert not place.step(mover)[0] and place.state.still[0] == 0
    mover[0, 0] = 1.8  # 1.5 m and its radius of 0.2 m
    assert not place.step(mover)[0] and place.state.still[0] == 1
    mover[0, [0, 5]] = 1.0, 0.4  # too unsure to count
    assert not place.step(mover)[0] and place.state.still[0] == 2


def test_where_there_is_no_way_the_first_place_out_of_reach_is_blocked():
    """Closed in all round: the way leads through the wall, 0.5 m back."""
    closed = np.concatenate([SLOT, line((-0.5, -0.28), (-0.5, 0.28))])
    place = Place(closed, (-3.0, 0.05))
    place.state.still[0] = m.PATIENCE
    assert not place.step()[0]
    x, y = place.state.blocked[0, 0]
    assert np.isnan(place.state.blocked[0, 1:]).all()
    # base gets 0.5 - 0.229 - 0.055 = 0.216 m back, and what is beside a place that was reached is
    # not blocked: one bin more, and one cell of the way
    assert -0.216 - ps.BIN - CELL - 0.05 < x < -0.216 and abs(y) < 0.15
    factor = np.ones((SIZE, SIZE), np.float32)
    m.block_cells(place.state.blocked[0], place.origin, CELL, factor)
    rows, columns = np.indices(factor.shape)
    off = np.hypot((columns + 0.5 + place.origin[0]) * CELL - x,
                   (rows + 0.5 + place.origin[1]) * CELL - y)
    np.testing.assert_array_equal(factor == LETHAL, off < m.BLOCK_RADIUS)
    m.drop(place.state, slice(None))
    assert np.isnan(place.state.blocked).all()


def test_a_blocked_way_is_tried_again_after_a_while():
    place = Place([], (3.0, 0.0))
    place.state.blocked[0, 3] = (1.0, 1.0)
    for _ in range(m.BLOCK_TIME):
        place.pose[0] += 2.0 * m.NEAR  # it gets on
        place.origin[0] = math.floor(place.pose[0] / CELL) - SIZE // 2
        place.step()
    assert place.state.blocked[0, 3].tolist() == [1.0, 1.0]
    place.step()
    assert np.isnan(place.state.blocked[0]).all()


def test_blocked_cells_at_the_rim_stay_inside():
    factor = np.ones((8, 8), np.float32)
    m.block_cells(np.array([[0.0, 0.0], [0.75, 5.0], [np.nan, np.nan]]), np.zeros(2, np.int64),
                  CELL, factor)
    assert factor[0, 0] == LETHAL and (factor != 1.0).sum() < 8 and (factor[4:] == 1.0).all()


def wall(a, b):
    return [(*p, 0.06) for p in line(a, b)[::3]]


def test_a_gap_that_the_planner_takes_for_one_is_given_up_for_the_way_round():
    """0.46 m are 2 cm to each side of the robot: too few for it, but not for the planner."""
    fence = [*wall((2.0, 0.29), (2.0, 1.6)), *wall((2.0, -0.29), (2.0, -4.0)),
             *wall((2.0, -4.0), (-2.0, -4.0))]
    outcome, seconds = drive(fence, (0.0, 0.0, 0.0), (4.0, 0.0), 30)
    assert outcome == 'reached', seconds
