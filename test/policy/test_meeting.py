"""When a command meets something that moves: arithmetic, and exact polygons in fine steps."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import affinity
from shapely.geometry import Point, Polygon

from karpathy_control.contracts.config import PolicyConfig
from karpathy_control.mapping.motion import go_on
from karpathy_control.policy.fan import REACTION, slabs_of
from karpathy_control.policy.meeting import (
    FIRST_STEPS,
    MEETING_MARGIN,
    MEETING_STEPS,
    NEAR_MISS,
    meeting,
    meeting_cost,
)
from karpathy_control.policy.stepping import STEP

CONFIG = PolicyConfig()
LIMITS = np.array([1.2, 0.3, 2.0, 2.0, 2.5, 6.0, REACTION])
SLABS = slabs_of(CONFIG.robot.polygon)


def met(v, w, movers, stop_at=np.inf):
    movers = np.array(movers)
    ways = np.empty((MEETING_STEPS, len(movers), 2))
    go_on(movers, STEP, ways)
    return meeting(v, w, np.array((v, w)), np.array((v, w)), LIMITS, SLABS, movers, ways,
                     stop_at)


def test_a_moving_disc_is_met_where_it_will_be():
    standing = [1.0, 2.0, 0.0, 0.0, 0.3, 1.0, 0.0, 0.3, 0.0]
    crossing = [1.0, 1.2, 0.0, -1.2, 0.3, 1.0, 0.0, 0.3, 0.0]  # at (1, 0) after one second
    assert met(1.0, 0.0, [standing])[0] == np.inf
    assert met(1.0, 0.0, [crossing])[0] < 1.0
    assert met(1.0, 0.0, [[*crossing[:5], 0.1, 0.0, 0.3, 0.0]])[0] == np.inf  # not believed


def test_who_moves_comes_to_a_robot_that_stands():
    # front edge at 0.229 m: 2 - 0.229 - 0.3 = 1.471 m at 1 m/s, less the margin, which grows
    # with t: t (1 + 0.1) > 1.471 - 0.12, at t = 1.228
    coming = [2.0, 0.0, -1.0, 0.0, 0.3, 1.0, 0.0, 0.1, 0.0]
    assert met(0.0, 0.0, [coming])[0] == pytest.approx(1.3)
    # one that turns at 1.5 rad/s goes sideways after 1.8 s, no more than 1.3 m nearer
    turning = [3.0, 0.0, -1.0, 0.0, 0.3, 1.0, 1.5, 0.3, 0.0]
    assert met(0.0, 0.0, [[*turning[:6], 0.0, 0.3, 0.0]])[0] < np.inf
    assert met(0.0, 0.0, [turning])[0] == np.inf
    # the one straight on comes to where the robot must stop for something that stands, too, later
    assert np.inf > met(-0.3, 0.0, [coming], stop_at=0.5)[0] > 1.3


def test_who_slows_down_does_not_come_and_who_gains_speed_comes_sooner():
    # 1 m/s and -0.9 m/s^2 that wears off with 1.5 s: after t s it has come t - 0.9 * 1.5 *
    # (t - 1.5 (1 - exp(-t / 1.5))) m, and stands after 2.03 s and .79 m, less than 1.351
    coming = [2.0, 0.0, -1.0, 0.0, 0.3, 1.0, 0.0, 0.0]
    assert met(0.0, 0.0, [[*coming, -0.9]])[0] == np.inf
    # +0.9 m/s^2: 1.351 m after 0.99 s
    assert met(0.0, 0.0, [[*coming, 0.9]])[0] == pytest.approx(1.0)


def finely(v, w, movers, follow):
    """First meeting and nearest of one way to go on, by steps of 2 ms and exact polygons."""
    outline = Polygon(CONFIG.robot.polygon)
    rise, fall, turn = LIMITS[3:6]
    x, y, yaw, time, near, dt = 0.0, 0.0, 0.0, np.inf, np.inf, 0.002
    at_v, at_w = v, w
    per = round(STEP / dt)
    for k in range(MEETING_STEPS):
        to_v, to_w = (v, w) if k < FIRST_STEPS else follow
        for _ in range(per):
            rate = rise if abs(to_v) > abs(at_v) and to_v * at_v >= 0.0 else fall
            at_v += np.clip(to_v - at_v, -rate * dt, rate * dt)
            at_w += np.clip(to_w - at_w, -turn * dt, turn * dt)
            x, y = x + at_v * dt * math.cos(yaw), y + at_v * dt * math.sin(yaw)
            yaw += at_w * dt
        t = (k + 1) * STEP
        body = affinity.translate(affinity.rotate(outline, yaw, origin=(0, 0), use_radians=True),
                                  x, y)
        d = min(body.distance(Point(m[:2] + m[2:4] * t)) - m[4] - t * m[7]
                for m in movers) - MEETING_MARGIN
        near = min(near, d)
        if d < 0.0 and time == np.inf:
            time = t
    return time, near


@settings(deadline=None, max_examples=40)
@given(v=st.floats(-0.5, 1.2), w=st.floats(-1.5, 1.5), seed=st.integers(0, 2**31))
def test_meeting_is_that_of_the_best_way_to_go_on(v, w, seed):
    rng = np.random.default_rng(seed)
    movers = np.column_stack((rng.uniform(-4, 4, (3, 2)), rng.uniform(-1.5, 1.5, (3, 2)),
                              rng.uniform(0.1, 0.5, 3), np.ones(3), np.zeros(3),
                              rng.uniform(0.0, 1.0, 3), np.zeros(3)))
    ways = [finely(v, w, movers, follow) for follow in ((v, w), (v, 0.0), (v, -w), (0.0, 0.0))]
    found, least = met(v, w, movers)
    # a ramp that ends within a step, and chords: after 3.5 s off by some centimetres at most
    if all(abs(near) > 0.05 for _, near in ways):
        assert (found < np.inf) == (max(time for time, _ in ways) < np.inf)
    if found == np.inf and all(abs(near) > 0.05 for _, near in ways):
        nearest = max(near for time, near in ways if time == np.inf)
        # beyond NEAR_MISS nothing better is looked for
        assert min(least, NEAR_MISS) == pytest.approx(min(nearest, NEAR_MISS), abs=0.05)


def test_what_a_meeting_costs():
    assert meeting_cost(0.0, 0.0) == pytest.approx(30.0)
    assert meeting_cost(2.0, 0.0) == pytest.approx(30.0 * math.exp(-2.0))
    assert meeting_cost(np.inf, 0.0) == pytest.approx(3.0)
    assert meeting_cost(np.inf, 0.6) == pytest.approx(3.0 * 0.25)  # half way to NEAR_MISS
    assert meeting_cost(np.inf, NEAR_MISS) == meeting_cost(np.inf, 5.0) == 0.0
