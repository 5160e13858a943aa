"""Mountings from motions made with them, and level sensors from tilted ones."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from karpathy_control.contracts.geometry import rotation_rpy
from karpathy_control.contracts.types import Pose2
from karpathy_control.measuring.extrinsics import angles, ground, left_out, levelled, mounting
from karpathy_control.measuring.track import moved, turned

MOTIONS = [Pose2(1.5, 0.0, 0.0), Pose2(0.0, 0.0, 3.0), Pose2(0.7, 0.01, 0.02),
           Pose2(0.0, 0.0, -2.8), Pose2(0.1, 0.05, 1.0)]


@given(x=st.floats(-0.5, 0.5), y=st.floats(-0.5, 0.5), yaw=st.floats(-3.1, 3.1),
       scale=st.floats(0.8, 1.2))
def test_the_mounting_is_found_whatever_the_scale_of_odometry(x, y, yaw, scale):
    at = Pose2(x, y, yaw)
    lidar = [turned(at, m) for m in MOTIONS]
    told = [Pose2(m.x / scale, m.y / scale, m.yaw) for m in MOTIONS]
    found = mounting(told, lidar)
    assert (found.pose.x, found.pose.y) == pytest.approx((x, y), abs=1e-6)
    assert math.remainder(found.pose.yaw - yaw, 2 * math.pi) == pytest.approx(0.0, abs=1e-6)
    assert found.scale == pytest.approx(scale)
    assert left_out(told, lidar) == pytest.approx(np.zeros(3), abs=1e-6)
    back = moved(at, lidar[4])
    assert (back.x, back.y, back.yaw) == pytest.approx((0.1, 0.05, 1.0))


def test_errors_of_the_motions_show_in_the_error():
    rng = np.random.default_rng(0)
    at, spread = Pose2(0.2, -0.1, 0.3), 0.01
    motions = MOTIONS * 4
    lidar = [turned(at, m) for m in motions]
    lidar = [Pose2(m.x + rng.normal(0, spread), m.y + rng.normal(0, spread), m.yaw)
             for m in lidar]
    found, error = mounting(motions, lidar).pose, left_out(motions, lidar)
    off = np.abs([found.x - 0.2, found.y + 0.1, found.yaw - 0.3])
    assert (off < 4.0 * error).all() and (error > 0.0005).all() and (error < 0.01).all()


@pytest.mark.parametrize('motions', [[Pose2(1.0, 0.0, 0.0)] * 3, [Pose2(0.0, 0.0, 1.0)] * 3, []])
def test_turns_or_legs_alone_do_not_tell(motions):
    with pytest.raises(ValueError, match=r'at least two|straight legs'):
        mounting(motions, [turned(Pose2(0.1, 0.0, 0.0), m) for m in motions])


@given(st.tuples(st.floats(-3.0, 3.0), st.floats(-1.5, 1.5), st.floats(-3.0, 3.0)))
def test_angles_undo_a_rotation(rpy):
    again = rotation_rpy(*angles(rotation_rpy(*rpy)))
    assert again == pytest.approx(rotation_rpy(*rpy), abs=1e-9)


@given(roll=st.floats(-0.3, 0.3), pitch=st.floats(-0.3, 0.3), told=st.floats(-0.2, 0.2))
def test_a_level_sensor_is_found_from_what_it_takes_for_up(roll, pitch, told):
    """It sits by roll and pitch, the profile says `told` for both: up as base would see it."""
    up = rotation_rpy(told, told, 0.0) @ rotation_rpy(roll, pitch, 0.0).T @ (0.0, 0.0, 1.0)
    found = levelled((told, told, 0.0), up)
    # yaw is not seen by gravity: the up of the answer is that of the truth, as the sensor sees it
    assert rotation_rpy(*found).T @ (0, 0, 1) == pytest.approx(
        rotation_rpy(roll, pitch, 0.0).T @ (0, 0, 1), abs=1e-9)


def test_the_ground_is_found_among_things():
    rng = np.random.default_rng(1)
    xy = rng.uniform((0.4, -2.0), (3.0, 2.0), (2000, 2))
    floor = np.column_stack((xy, 0.02 + 0.03 * xy[:, 0] - 0.01 * xy[:, 1]
                             + rng.normal(0, 0.004, 2000)))
    box = np.column_stack((rng.uniform((1.5, -0.3), (1.6, 0.3), (400, 2)),
                           rng.uniform(0.0, 0.5, 400)))
    height, up = ground(np.concatenate((floor, box)))
    assert height == pytest.approx(0.02, abs=0.004)
    normal = np.array([-0.03, 0.01, 1.0])
    assert up == pytest.approx(normal / np.linalg.norm(normal), abs=0.003)
    assert ground(box) is None and ground(np.zeros((0, 3))) is None
