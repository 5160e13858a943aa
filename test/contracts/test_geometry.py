"""Planar geometry against closed forms and other libraries."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import ConvexHull
from scipy.spatial.transform import Rotation

from karpathy_control.contracts import geometry
from karpathy_control.contracts.types import Pose2, State

NUMBERS = st.floats(-50.0, 50.0)
ANGLES = st.floats(-20.0, 20.0)


@given(ANGLES)
def test_wrap_angle(a):
    w = geometry.wrap_angle(a)
    assert -math.pi <= w < math.pi
    assert math.cos(w) == pytest.approx(math.cos(a), abs=1e-9)


@given(NUMBERS, NUMBERS, ANGLES, NUMBERS, NUMBERS)
def test_frames_are_inverse(x, y, yaw, px, py):
    frame = Pose2(x, y, yaw)
    back = geometry.from_frame(geometry.to_frame([(px, py)], frame), frame)
    np.testing.assert_allclose(back, [(px, py)], atol=1e-9)


@given(NUMBERS, NUMBERS, ANGLES, NUMBERS, NUMBERS, ANGLES)
def test_compose_is_the_product_of_matrices(ax, ay, at, bx, by, bt):
    def matrix(x, y, t):
        return np.array([[math.cos(t), -math.sin(t), x], [math.sin(t), math.cos(t), y], [0, 0, 1]])
    c = geometry.compose(Pose2(ax, ay, at), Pose2(bx, by, bt))
    np.testing.assert_allclose(matrix(c.x, c.y, c.yaw), matrix(ax, ay, at) @ matrix(bx, by, bt),
                               atol=1e-9)


@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(0, 2))
def test_integrate_twist_against_small_steps(v, w, dt):
    pose, n = Pose2(1.0, 2.0, 0.3), 4000
    x, y, yaw = pose.x, pose.y, pose.yaw
    for _ in range(n):  # midpoint rule: error of order (dt / n)^2
        mid = yaw + 0.5 * w * dt / n
        x, y = x + v * dt / n * math.cos(mid), y + v * dt / n * math.sin(mid)
        yaw += w * dt / n
    end = geometry.integrate_twist(pose, v, w, dt)
    assert (end.x, end.y) == pytest.approx((x, y), abs=1e-5)


@given(ANGLES)
def test_yaw_of_quaternion(yaw):
    q = Rotation.from_euler('z', yaw).as_quat()
    assert geometry.yaw_of_quaternion(*q) == pytest.approx(geometry.wrap_angle(yaw), abs=1e-9) or (
        abs(abs(geometry.yaw_of_quaternion(*q)) - math.pi) < 1e-9)


@given(ANGLES, st.floats(-1.5, 1.5), ANGLES)
def test_rotation_rpy_is_extrinsic_xyz(r, p, y):
    np.testing.assert_allclose(geometry.rotation_rpy(r, p, y),
                               Rotation.from_euler('xyz', (r, p, y)).as_matrix(), atol=1e-12)


def test_convex_hull_has_the_corners_that_scipy_finds():
    points = np.random.default_rng(1).normal(size=(200, 2))
    hull = geometry.convex_hull(points)
    expected = points[ConvexHull(points).vertices]
    assert {tuple(p) for p in hull} == {tuple(p) for p in expected}


def test_convex_hull_refuses_a_line():
    with pytest.raises(ValueError, match='three points'):
        geometry.convex_hull([(0, 0), (1, 1), (2, 2)])


@given(NUMBERS, NUMBERS, ANGLES, st.floats(-3.0, 3.0), st.floats(0.0, 0.2))
def test_behind_wheels_is_the_lag_of_a_first_order_base(x, y, yaw, v, creep):
    """Wheels at steady v, a base whose speed closes in on theirs at (v - u) / creep: it ends up
    creep * v behind, which in the robot's own frame is straight back. Steps of creep / 100 for 20
    time constants: the sum of a geometric row, .99 of it."""
    told = State(7, x, y, yaw, v, 0.3)
    base = geometry.behind_wheels(told, creep)
    back = geometry.to_frame([(base.x, base.y)], told.pose)[0]
    lag, u = 0.0, 0.0
    for _ in range(2000):
        u += (v - u) / 100.0
        lag += (v - u) * creep / 100.0
    np.testing.assert_allclose(back, (-lag / 0.99, 0.0), atol=1e-9)
    assert (base.stamp, base.yaw, base.v, base.w) == (7, yaw, v, 0.3)
