"""Message conversions: round trips, every refusal, and whatever hypothesis thinks of."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip('rclpy', reason='conversion needs the ROS messages')

from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from sensor_msgs.msg import CameraInfo, Image, LaserScan

from karpathy_control.contracts import layout
from karpathy_control.contracts.types import (
    Action,
    CameraModel,
    Command,
    DepthPoints,
    ImuSample,
    Scan,
    State,
)
from karpathy_control.nodes import clouds, convert
from karpathy_control.nodes.convert import InvalidMessage

RNG = np.random.default_rng(0)
STAMP = 12_345_678_901


def test_stamp_round_trip():
    header = convert.header(STAMP, 'odom')
    assert (header.stamp.sec, header.stamp.nanosec) == (12, 345_678_901)
    assert convert.stamp_ns(header) == STAMP


def test_layout_scan_round_trip_keeps_nan_and_inf():
    ranges = RNG.uniform(0.1, 9.0, layout.SCAN_BEAMS).astype(np.float32)
    ranges[3], ranges[5] = np.nan, np.inf
    scan = convert.layout_scan(convert.layout_scan_message(Scan(STAMP, ranges, 10.0), 'base_link'))
    np.testing.assert_array_equal(scan.ranges, ranges)
    assert (scan.stamp, scan.range_max) == (STAMP, 10.0)


def test_state_round_trip():
    state = State(STAMP, 1.0, -2.0, 2.5, 0.7, -0.3)
    back = convert.state(convert.odometry_message(state, 'odom', 'base_link'))
    assert back.yaw == pytest.approx(2.5, abs=1e-12)
    assert (back.x, back.y, back.v, back.w, back.stamp) == (1.0, -2.0, 0.7, -0.3, STAMP)


def test_answers_round_trip_bit_for_bit():
    given_out = [Action(STAMP, Command(0.1 + 0.2, -1e-17)), Action(STAMP + 1, Command())]
    assert convert.answers(convert.answers_text(given_out)) == given_out
    assert convert.answers('') == []


@pytest.mark.parametrize('text', ['1:2', '1:2:3:4', 'x:1:1', '1:fast:0', '1:nan:0', '1:0:inf',
                                  '1:99:0', '1:0:0 7'])
def test_answers_that_are_none_are_refused(text):
    with pytest.raises(InvalidMessage, match='answer'):
        convert.answers(text)


def test_images_of_all_encodings():
    rgb = RNG.integers(0, 255, (4, 6, 3)).astype(np.uint8)
    for encoding, pixels in (('rgb8', rgb), ('bgr8', rgb[:, :, ::-1])):
        message = convert.image_message(np.ascontiguousarray(pixels), STAMP, 'c', encoding)
        np.testing.assert_array_equal(convert.raw_image(message).pixels, rgb)
    alpha = np.concatenate((rgb[:, :, ::-1], np.full((4, 6, 1), 9, np.uint8)), axis=2)
    message = convert.image_message(alpha, STAMP, 'c', 'bgra8')
    np.testing.assert_array_equal(convert.raw_image(message).pixels, rgb)
    grey = rgb[:, :, :1]
    message = convert.image_message(grey, STAMP, 'c', 'mono8')
    np.testing.assert_array_equal(convert.raw_image(message).pixels, np.repeat(grey, 3, 2))


def test_padded_rows_are_cut():
    message = Image(height=2, width=1, step=5, encoding='rgb8')
    message.data = [1, 2, 3, 0, 0, 4, 5, 6, 0, 0]
    np.testing.assert_array_equal(convert.raw_image(message).pixels[:, 0], [[1, 2, 3], [4, 5, 6]])


def test_depth_in_millimetres_and_metres():
    mm = np.array([[0, 1500]], np.uint16)
    metres = convert.raw_depth(convert.image_message(mm, STAMP, 'c', '16UC1')).metres
    assert math.isnan(metres[0, 0]) and metres[0, 1] == pytest.approx(1.5)
    m = np.array([[1.25, np.inf]], np.float32)
    np.testing.assert_array_equal(
        convert.raw_depth(convert.image_message(m, STAMP, 'c', '32FC1')).metres, m)


def test_cloud_round_trip():
    points = DepthPoints(STAMP, RNG.normal(size=(7, 3)).astype(np.float32),
                         np.ones(7, np.float32), (0.2, 0.0))
    back = clouds.depth_points(clouds.depth_points_message(points, 'base_link'), (0.2, 0.0))
    np.testing.assert_array_equal(back.xyz, points.xyz)
    np.testing.assert_array_equal(back.kind, points.kind)
    table = RNG.normal(size=(layout.SECTORS, len(layout.ENTITY_FIELDS))).astype(np.float32)
    np.testing.assert_array_equal(
        clouds.entities_table(clouds.entities_message(table, STAMP, 'base_link')), table)


def test_camera_and_imu_round_trip():
    model = CameraModel(128, 96, 64.0, 64.0, 64.0, 48.0, (0.1, 0.0, 0.0, 0.0, 0.0))
    assert convert.camera_model(convert.camera_info_message(model, STAMP, 'c')) == model
    sample = ImuSample(STAMP, (0.1, 0.2, 0.3), (0.0, 0.0, 9.81))
    assert convert.imu_sample(convert.imu_message(sample, 'imu_link'), np.eye(3)) == sample


def test_goal_and_path_round_trip():
    points = RNG.normal(size=(5, 2))
    np.testing.assert_allclose(
        convert.path_points(convert.path_message(points, STAMP, 'odom')), points, rtol=1e-6)


@pytest.mark.parametrize('change, names', [
    ({'ranges': []}, '0 ranges'),
    ({'angle_increment': 0.0}, 'increment'),
    ({'angle_increment': 3.0}, 'increment'),
    ({'angle_min': math.nan}, 'finite'),
    ({'range_max': 0.05}, 'limits'),
    ({'time_increment': math.nan}, 'sweep of at most 1 s'),
    ({'time_increment': 0.12}, 'sweep of at most 1 s'),  # 9 * 0.12 s
])
def test_scans_that_are_refused(change, names):
    message = convert.scan_message(np.ones(10, np.float32), STAMP, 'l', -1.0, 0.1, 0.1, 20.0, 0.05)
    for key, value in change.items():
        setattr(message, key, value)
    with pytest.raises(InvalidMessage, match=names):
        convert.raw_scan(message)


def test_the_time_between_beams_goes_through():
    message = convert.scan_message(np.ones(10, np.float32), STAMP, 'l', -1.0, 0.1, 0.1, 20.0, 0.2,
                                   0.02)
    assert convert.raw_scan(message).time_increment == pytest.approx(0.02)
    assert message.scan_time == pytest.approx(0.2)


def test_refusals_name_what_is_accepted():
    with pytest.raises(InvalidMessage, match=r'yuv422.*rgb8'):
        convert.raw_image(Image(height=1, width=1, step=2, encoding='yuv422', data=[0, 0]))
    with pytest.raises(InvalidMessage, match='bytes'):
        convert.raw_image(Image(height=10, width=10, step=30, encoding='rgb8', data=[0]))
    with pytest.raises(InvalidMessage, match='calibrated'):
        convert.camera_model(CameraInfo(width=10, height=10))
    odometry = Odometry()
    odometry.pose.pose.orientation.w = 0.5
    with pytest.raises(InvalidMessage, match=r'norm 0\.500'):
        convert.state(odometry)
    twist = Twist()
    twist.linear.x = math.nan
    with pytest.raises(InvalidMessage, match='finite'):
        convert.command(twist)
    with pytest.raises(InvalidMessage, match='360'):
        convert.layout_scan(LaserScan(ranges=[1.0]))


# The generated message classes refuse the largest float32 themselves, so stay just below it.
ANY = st.one_of(st.floats(-2.0**126, 2.0**126, width=32),
                st.sampled_from([math.nan, math.inf, -math.inf]))


@settings(max_examples=200, deadline=None)
@given(ANY, ANY, ANY, ANY, st.lists(ANY, max_size=8))
def test_any_scan_is_taken_or_refused_but_never_crashes(start, step, low, high, ranges):
    message = LaserScan(angle_min=start, angle_increment=step, range_min=low, range_max=high,
                        ranges=ranges)
    try:
        scan = convert.raw_scan(message)
    except InvalidMessage:
        return
    assert math.isfinite(scan.angle_min) and len(scan.ranges) == len(ranges)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 100), st.binary(max_size=64),
       st.sampled_from(['rgb8', 'bgr8', 'mono8', '32FC1', '16UC1', 'junk', '']))
def test_any_image_is_taken_or_refused_but_never_crashes(h, w, step, data, encoding):
    message = Image(height=h, width=w, step=step, encoding=encoding, data=list(data))
    for read in (convert.raw_image, convert.raw_depth, convert.layout_image,
                 lambda m: convert.matrix(m, (h, w))):
        try:
            read(message)
        except InvalidMessage:
            continue


@settings(max_examples=200, deadline=None)
@given(ANY, ANY, st.booleans())
def test_any_command_is_bounded_or_refused(v, w, stamped):
    message = convert.twist_message(Command(v, w), STAMP, 'base_link', stamped)
    try:
        command, stamp = convert.command(message)
    except InvalidMessage:
        assert not (abs(v) <= convert.MAX_SPEED and abs(w) <= convert.MAX_SPEED)
        return
    assert (command.v, command.w) == (v, w) and (stamp == STAMP) == stamped
