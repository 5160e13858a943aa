"""The pipeline message by message: what goes out, when, with what, and what is counted."""

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karpathy_control.contracts.config import SensorConfig, from_mapping
from karpathy_control.contracts.types import (
    CameraModel,
    ImuSample,
    RawDepth,
    RawImage,
    RawScan,
    State,
)
from karpathy_control.sensing.pipeline import SensorPipeline
from karpathy_control.sensing.preprocess import virtual_model

MS = 1_000_000
PIXELS = np.full((96, 128, 3), 90, np.uint8)


def image(ms):
    return RawImage(ms * MS, PIXELS)


def scan(ms, distance=3.0, beams=720):
    return RawScan(ms * MS, -2.35619, 4.71238 / (beams - 1), 0.1, 20.0,
                   np.full(beams, distance, np.float32))


def odom(ms, x=0.0, v=0.0):
    return State(ms * MS, x, 0.0, 0.0, v, 0.0)


def depth(ms):
    return RawDepth(ms * MS, np.full((96, 128), 2.0, np.float32))


@pytest.fixture
def pipe():
    made = SensorPipeline(SensorConfig())
    made.on_camera_model(virtual_model())
    return made


def test_a_set_goes_out_with_the_odometry_that_follows_it(pipe):
    pipe.on_scan(scan(95), 95 * MS)
    pipe.on_odom(odom(80, 1.0, 1.0), 80 * MS)
    pipe.on_image(image(100), 101 * MS)
    assert pipe.release(101 * MS, 101 * MS) == []
    assert pipe.next_deadline() == 106 * MS  # received + align_wait of 5 ms
    pipe.on_odom(odom(105, 1.025, 1.0), 103 * MS)
    (got,) = pipe.release(103 * MS, 103 * MS)
    assert got.stamp == got.state.stamp == got.scan.stamp == 100 * MS
    assert got.state.x == pytest.approx(1.02)  # 1.0 + 20/25 of 0.025
    assert not got.state.extrapolated
    assert got.image is PIXELS
    assert got.depth is None and got.depth_points is None and got.imu is None
    assert pipe.next_deadline() is None
    assert pipe.counts['released'] == 1
    assert pipe.release(200 * MS, 104 * MS) == []  # each stamp once


def test_without_it_the_state_is_extrapolated_at_the_deadline(pipe):
    pipe.on_odom(odom(80, 1.0, 1.0), 80 * MS)
    pipe.on_image(image(100), 101 * MS)
    assert pipe.release(105 * MS, 105 * MS) == []
    (got,) = pipe.release(106 * MS, 106 * MS)
    assert got.state.extrapolated
    assert got.state.x == pytest.approx(1.02)
    assert pipe.counts['extrapolated'] == 1
    assert pipe.counts['without_scan'] == 1


def test_the_state_is_where_the_base_is_and_not_its_wheels(pipe):
    """45 ms at 2 m/s: 9 cm behind; a wall 3 m from the lidar stays 3 m from it."""
    pipe.configure(from_mapping(SensorConfig, {'robot.creep': 0.045}))
    pipe.on_scan(scan(100), 100 * MS)
    pipe.on_odom(odom(100, 1.0, 2.0), 100 * MS)
    pipe.on_image(image(100), 101 * MS)
    (got,) = pipe.release(101 * MS, 101 * MS)
    assert got.state.x == pytest.approx(0.91) and got.state.v == 2.0
    plain = SensorPipeline(SensorConfig())
    plain.on_camera_model(virtual_model())
    plain.on_scan(scan(100), 100 * MS)
    plain.on_odom(odom(100, 1.0, 2.0), 100 * MS)
    plain.on_image(image(100), 101 * MS)
    (other,) = plain.release(101 * MS, 101 * MS)
    assert other.state.x == 1.0
    np.testing.assert_array_equal(got.scan.ranges, other.scan.ranges)


def test_odometry_that_cannot_come_in_time_is_not_waited_for(pipe):
    """Odometry every 20 ms: after the one of 40 ms the next comes at 60, not before 50 + 5."""
    for ms in (0, 20, 40):
        pipe.on_odom(odom(ms, v=1.0), ms * MS)
    pipe.on_image(image(50), 50 * MS)
    (got,) = pipe.release(50 * MS, 50 * MS)
    assert got.state.extrapolated
    assert got.state.x == pytest.approx(0.01)
    pipe.on_odom(odom(60, v=1.0), 60 * MS)
    pipe.on_odom(odom(80, v=1.0), 80 * MS)
    pipe.on_image(image(99), 99 * MS)  # the next is due at 100 ms: worth the wait
    assert pipe.release(99 * MS, 99 * MS) == []
    pipe.on_odom(odom(100, v=1.0), 100 * MS)
    assert not pipe.release(100 * MS, 100 * MS)[0].state.extrapolated


def test_without_odometry_the_set_is_dropped_and_counted(pipe):
    pipe.on_image(image(100), 100 * MS)
    assert pipe.release(110 * MS, 110 * MS) == []
    assert pipe.counts['dropped_odom_missing'] == 1
    pipe.on_odom(odom(200), 200 * MS)
    pipe.on_image(image(500), 500 * MS)  # 0.3 s after the last odometry
    assert pipe.release(510 * MS, 510 * MS) == []
    assert pipe.counts['dropped_odom_missing'] == 2


def test_depth_is_waited_for_only_where_it_has_been_arriving(pipe):
    pipe.on_odom(odom(80), 80 * MS)
    pipe.on_odom(odom(120), 100 * MS)
    pipe.on_image(image(100), 101 * MS)
    assert len(pipe.release(102 * MS, 102 * MS)) == 1  # never any depth: at once
    pipe.on_depth(depth(100), 103 * MS)
    pipe.on_odom(odom(160), 150 * MS)
    pipe.on_image(image(150), 151 * MS)
    assert pipe.release(152 * MS, 152 * MS) == []
    pipe.on_depth(depth(150), 153 * MS)
    (got,) = pipe.release(153 * MS, 153 * MS)
    assert got.depth_points.stamp == 150 * MS
    assert np.all(got.depth == 2.0)
    pipe.on_odom(odom(210), 200 * MS)
    pipe.on_image(image(200), 201 * MS)
    assert pipe.release(205 * MS, 205 * MS) == []
    (got,) = pipe.release(206 * MS, 206 * MS)  # its depth did not come in time
    assert got.depth is None


def test_depth_of_another_stamp_is_moved_with_the_robot(pipe):
    pipe.on_odom(odom(80, 0.0, 1.0), 80 * MS)
    pipe.on_odom(odom(120, 0.04, 1.0), 100 * MS)
    pipe.on_depth(depth(90), 95 * MS)
    pipe.on_image(image(100), 101 * MS)
    (got,) = pipe.release(102 * MS, 102 * MS)
    # the camera stood at x = 0.19; base has gone 0.01 m ahead since
    assert got.depth_points.origin == pytest.approx((0.18, 0.0))
    assert got.depth_points.stamp == 100 * MS


def test_the_scan_is_the_latest_that_is_not_too_new_nor_too_old(pipe):
    for ms in (60, 80, 105, 130):
        pipe.on_odom(odom(ms), ms * MS)
        pipe.on_scan(scan(ms, distance=ms / 100), ms * MS)
    pipe.on_odom(odom(150), 150 * MS)
    pipe.on_image(image(100), 100 * MS)
    (got,) = pipe.release(150 * MS, 150 * MS)
    # 105 leads by 5 ms, within the tolerance; the lidar sits 0.055 m ahead
    assert got.scan.ranges[180] == pytest.approx(1.05 + 0.055, abs=1e-3)
    for ms in range(170, 400, 20):
        pipe.on_odom(odom(ms), ms * MS)
    pipe.on_image(image(300), 300 * MS)  # 170 ms after the newest scan
    (got,) = pipe.release(390 * MS, 390 * MS)
    assert got.scan is None


def test_the_scan_is_moved_to_the_reference_stamp(pipe):
    pipe.on_odom(odom(0, 0.0, 2.0), 0)
    pipe.on_odom(odom(100, 0.2, 2.0), 100 * MS)
    ranges = np.full(720, np.inf, np.float32)
    ranges[355:365] = 3.0
    pipe.on_scan(replace(scan(50), ranges=ranges), 60 * MS)
    pipe.on_image(image(100), 100 * MS)
    (got,) = pipe.release(100 * MS, 100 * MS)
    # 3.0 + 0.055 m ahead at 50 ms, and 0.1 m nearer now
    assert np.nanmin(got.scan.ranges) == pytest.approx(2.955, abs=1e-3)


def test_goal_and_plan(pipe):
    pipe.on_odom(State(100 * MS, 1.0, 2.0, np.pi / 2, 0, 0), 100 * MS)
    pipe.on_goal((1.0, 5.0))
    pipe.on_plan(np.array([[1.0, 2.0], [2.0, 3.0], [1.0, 5.0]]))
    pipe.on_imu(ImuSample(95 * MS, (0, 0, 1), (0, 0, 9.8)), 95 * MS)
    pipe.on_image(image(100), 100 * MS)
    (got,) = pipe.release(100 * MS, 100 * MS)
    assert got.goal == pytest.approx((3.0, 0.0))  # straight ahead of a robot that looks along y
    assert got.plan.shape == (3, 2)
    assert got.imu.shape == (8, 6)
    pipe.on_goal(None)
    pipe.on_odom(odom(150), 150 * MS)
    pipe.on_image(image(150), 150 * MS)
    assert pipe.release(150 * MS, 150 * MS)[0].goal is None


def test_a_stale_plan_is_refused_and_one_that_becomes_stale_is_left_out(pipe):
    pipe.configure(replace(SensorConfig(), plan_max_age=0.1))
    pipe.on_odom(odom(200), 200 * MS)
    assert pipe.on_plan(np.zeros((2, 2)), 99 * MS) == (
        'plan of 0.1 s ago; it takes at most plan_max_age, 0.1 s')
    assert pipe.on_plan(np.zeros((2, 2)), 100 * MS) is None
    for ms, there in ((200, True), (250, False)):
        pipe.on_odom(odom(ms), ms * MS)
        pipe.on_image(image(ms), ms * MS)
        (got,) = pipe.release(ms * MS, ms * MS)
        assert (got.plan is not None) == there
    pipe.on_plan(np.zeros((2, 2)))  # without a stamp: of the newest odometry, 250 ms
    pipe.on_goal((0.0, 1.5))
    pipe.on_odom(odom(300), 300 * MS)
    pipe.on_image(image(300), 300 * MS)
    assert pipe.release(300 * MS, 300 * MS)[0].plan is None
    assert {k: n for k, n in pipe.counts.items() if 'plan' in k} == {
        'dropped_plan': 1, 'plan_too_old': 1, 'plan_elsewhere': 1}


def feed_lidar(pipe, start, stop):
    """Scans and odometry every 50 ms; the sets released on the way."""
    out = []
    for ms in range(start, stop, 50):
        pipe.on_odom(odom(ms), ms * MS)
        pipe.on_scan(scan(ms), ms * MS)
        out += pipe.release(ms * MS, ms * MS)
    return out


def test_the_scan_takes_over_while_the_camera_is_silent(pipe):
    pipe.on_odom(odom(50), 50 * MS)
    pipe.on_image(image(50), 50 * MS)
    assert [o.stamp for o in pipe.release(50 * MS, 50 * MS)] == [50 * MS]
    got = feed_lidar(pipe, 100, 351)
    # silent for more than 100 ms from 151 ms on: the scans of 200, 250 ...
    assert [o.stamp // MS for o in got] == [200, 250, 300, 350]
    assert all(o.image is None and o.scan is not None for o in got)
    pipe.on_odom(odom(400), 400 * MS)
    pipe.on_scan(scan(400), 400 * MS)
    pipe.on_image(image(400), 400 * MS)
    (back,) = pipe.release(400 * MS, 400 * MS)
    assert back.image is not None


def test_a_lidar_alone_is_enough():
    pipe = SensorPipeline(SensorConfig())
    assert pipe.on_image(image(100), 100 * MS) == 'image without camera_info'
    got = feed_lidar(pipe, 100, 500)
    assert [o.stamp // MS for o in got] == [250, 300, 350, 400, 450]
    assert pipe.counts['dropped_no_camera_model'] == 1


def test_slow_simulated_time_is_not_a_silent_camera(pipe):
    """At real-time factor 0.25 a 20 Hz camera comes every 200 ms of the steady clock."""
    out = []
    for ms in range(0, 500, 50):
        pipe.on_odom(odom(ms), 4 * ms * MS)
        pipe.on_scan(scan(ms), 4 * ms * MS)
        out += pipe.release(ms * MS, 4 * ms * MS)
        pipe.on_image(image(ms), (4 * ms + 2) * MS)
        out += pipe.release(ms * MS, (4 * ms + 2) * MS)
    assert all(o.image is not None for o in out)
    assert len(out) == 10


def test_out_of_order_images_do_not_go_out(pipe):
    pipe.on_odom(odom(200), 200 * MS)
    pipe.on_image(image(200), 200 * MS)
    pipe.on_image(image(150), 201 * MS)
    pipe.on_image(image(200), 202 * MS)
    assert [o.stamp for o in pipe.release(202 * MS, 202 * MS)] == [200 * MS]
    assert pipe.counts['dropped_out_of_order'] == 2


def test_a_clock_that_jumps_back_clears_everything(pipe):
    pipe.on_odom(odom(5000), 0)
    pipe.on_image(image(5000), 0)
    assert len(pipe.release(5000 * MS, 0)) == 1
    pipe.on_image(image(5050), MS)
    pipe.on_goal((1.0, 0.0))
    assert pipe.release(100 * MS, 2 * MS) == []  # a reset world
    assert pipe.counts['clock_jumps'] == 1
    pipe.on_odom(odom(100), 3 * MS)
    pipe.on_image(image(100), 3 * MS)
    (got,) = pipe.release(100 * MS, 4 * MS)
    assert got.stamp == 100 * MS
    assert got.goal is not None


def test_a_stream_that_restarts_before_the_clock_is_noticed(pipe):
    pipe.on_odom(odom(5000), 0)
    pipe.on_odom(odom(100), MS)
    assert pipe.counts['clock_jumps'] == 1
    pipe.on_image(image(100), MS)
    assert len(pipe.release(100 * MS, MS)) == 1


def test_a_clock_that_is_slewed_does_not_clear(pipe):
    pipe.on_odom(odom(100), 0)
    pipe.release(100 * MS, 0)
    pipe.release(60 * MS, MS)
    assert pipe.counts['clock_jumps'] == 0


def test_stamps_from_the_future_are_dropped(pipe):
    pipe.on_odom(odom(500), 0)
    pipe.on_odom(odom(100), 0)
    pipe.on_image(image(500), 0)
    pipe.on_scan(scan(500), 0)
    assert pipe.release(100 * MS, 10 * MS) == []
    assert pipe.counts['dropped_future'] == 3
    pipe.on_odom(odom(190), 0)  # leads by less than future_tolerance
    pipe.on_image(image(190), 0)
    assert len(pipe.release(100 * MS, 20 * MS)) == 1


@pytest.mark.parametrize(('call', 'cause'), [
    (lambda p: p.on_image(RawImage(MS, np.zeros((4, 4, 3), np.uint8)), 0), 'dropped_image'),
    (lambda p: p.on_depth(RawDepth(MS, np.zeros(4, np.float32)), 0), 'dropped_depth'),
    (lambda p: p.on_scan(replace(scan(1), angle_increment=0.0), 0), 'dropped_scan'),
    (lambda p: p.on_imu(ImuSample(MS, (np.nan, 0, 0), (0, 0, 0)), 0), 'dropped_imu'),
    (lambda p: p.on_odom(odom(1, float('nan')), 0), 'dropped_odom'),
    (lambda p: p.on_camera_model(CameraModel(8, 8, 0, 1, 1, 1)), 'dropped_camera_model'),
    (lambda p: p.on_camera_model(CameraModel(8, 8, 9, 9, 1, 1, (0.1,) * 3)),
     'dropped_camera_model'),
])
def test_bad_messages_are_named_and_counted(pipe, call, cause):
    assert call(pipe)
    assert pipe.counts[cause] == 1


def test_too_many_waiting_references_drop_the_oldest(pipe):
    for ms in range(100, 800, 100):
        pipe.on_image(image(ms), ms * MS)
    assert pipe.counts['dropped_overrun'] == 3


def test_a_live_change_applies(pipe):
    pipe.configure(replace(SensorConfig(), align_wait=0.05))
    pipe.on_image(image(100), 100 * MS)
    assert pipe.next_deadline() == 150 * MS


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from('iosd'), st.integers(0, 40), st.integers(0, 30)),
                max_size=80))
def test_stamps_go_out_once_and_in_order(events):
    pipe = SensorPipeline(SensorConfig())
    pipe.on_camera_model(virtual_model())
    stamps, now = [], 0
    for kind, at, step in events:
        now += step
        ms = max(now - at, 0)
        if kind == 'i':
            pipe.on_image(image(ms), now * MS)
        elif kind == 'o':
            pipe.on_odom(odom(ms), now * MS)
        elif kind == 's':
            pipe.on_scan(scan(ms, beams=8), now * MS)
        else:
            pipe.on_depth(depth(ms), now * MS)
        for got in pipe.release(now * MS, now * MS):
            stamps.append(got.stamp)
            assert got.state.stamp == got.stamp
            assert got.scan is None or got.scan.stamp == got.stamp
        deadline = pipe.next_deadline()
        assert deadline is None or deadline > now * MS
    assert stamps == sorted(set(stamps))
    assert pipe.counts['released'] == len(stamps)


def test_fast_enough_for_every_frame(pipe):
    pipe.warm_up()
    took = []
    for k in range(1, 40):
        ms = 50 * k
        pipe.on_odom(odom(ms - 20), ms * MS)
        pipe.on_imu(ImuSample((ms - 5) * MS, (0, 0, 1), (0, 0, 9.8)), ms * MS)
        pipe.on_scan(scan(ms - 10), ms * MS)
        pipe.on_depth(depth(ms), ms * MS)
        pipe.on_image(image(ms), ms * MS)
        pipe.on_odom(odom(ms), ms * MS)
        start = time.perf_counter()
        assert len(pipe.release(ms * MS, ms * MS)) == 1
        took.append(time.perf_counter() - start)
    assert min(took) < 3e-3  # the machine may be busy with something else
    print(f'release: median {1e3 * np.median(took):.2f} ms')


def messages(seed):
    """Half a second of all sensors with delays of their own: (received ms, method, message)."""
    rng = np.random.default_rng(seed)
    bent = CameraModel(128, 96, 64.0, 64.0, 63.5, 47.5, (0.1, 0.01, 0.0, 0.0, 0.0))
    stream = [(0.0, 'on_camera_model', bent)]
    for ms in range(0, 500, 10):
        sample = ImuSample(ms * MS, (0.1, 0.0, float(rng.normal())), (0.0, 0.0, 9.8))
        stream.append((ms + rng.uniform(0, 2), 'on_imu', sample))
    for ms in range(0, 500, 20):
        stream.append((ms + rng.uniform(0, 8), 'on_odom', odom(ms, 0.001 * ms, 1.0)))
    for ms in range(5, 500, 50):
        noisy = RawImage(ms * MS, rng.integers(0, 256, PIXELS.shape, np.uint8))
        stream.append((ms + rng.uniform(0, 4), 'on_image', noisy))
        metres = rng.uniform(0.5, 5.0, (96, 128)).astype(np.float32)
        stream.append((ms + rng.uniform(0, 4), 'on_depth', RawDepth(ms * MS, metres)))
        shot = replace(scan(ms), ranges=rng.uniform(0.5, 9.0, 720).astype(np.float32))
        stream.append((ms + rng.uniform(0, 4), 'on_scan', shot))
    return sorted(stream, key=lambda item: item[0])


def fed(pipe, stream):
    """The sets of a stream as bytes, and after each message whether the pipeline was idle."""
    for ms, method, message in stream:
        at = round(ms * MS)
        arguments = () if method == 'on_camera_model' else (at,)
        assert getattr(pipe, method)(message, *arguments) is None
        yield [[np.asarray(part).tobytes() for part in (
            o.stamp, [o.state.x, o.state.extrapolated], o.scan.ranges, o.image, o.depth,
            o.depth_points.xyz, o.imu, o.goal, o.plan)] for o in pipe.release(at, at)], pipe.idle


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 99), cut=st.floats(0.1, 0.9))
def test_another_pipeline_goes_on_from_a_state(seed, cut):
    stream = messages(seed)
    live, other = SensorPipeline(SensorConfig()), SensorPipeline(SensorConfig())
    for pipe in (live, other):
        pipe.on_goal((3.0, 1.0))
        pipe.on_plan(np.array([[0.0, 0.0], [3.0, 1.0]], np.float32))
    at = round(cut * len(stream))
    feeding = fed(live, stream)
    for k, (_, idle) in enumerate(feeding):
        if k >= at and idle:
            break
    state = {name: np.array(array) for name, array in live.state().items()}
    other.on_goal(None)
    other.on_plan(None)
    list(fed(other, messages(seed + 1)[:60]))  # what it was about before is forgotten
    other.restore(state)
    rest = [sets for sets, _ in feeding]
    assert [sets for sets, _ in fed(other, stream[k + 1:])] == rest
    assert cut > 0.8 or sum(map(len, rest)) > 0


def test_a_sweep_is_seen_from_its_stamp():
    """A wall 3 m ahead, the robot driving at it: the beam in the middle came 0.1 s later."""
    config = from_mapping(SensorConfig, {
        'robot.lidar_pose': [0.0] * 6, 'robot.scan_rate': 5.0, 'robot.camera_rate': 0.0})
    made = SensorPipeline(config)
    beams, v = 361, 1.0
    bearing = np.linspace(-0.5, 0.5, beams)
    seconds = np.linspace(0.0, 0.2, beams)
    ranges = ((3.0 - v * seconds) / np.cos(bearing)).astype(np.float32)
    for ms in range(0, 320, 20):
        made.on_odom(odom(ms, v * ms / 1000.0, v), ms * MS)
    made.on_scan(RawScan(100 * MS, -0.5, 1.0 / (beams - 1), 0.1, 20.0, ranges,
                         time_increment=0.2 / (beams - 1)), 300 * MS)
    (got,) = made.release(300 * MS, 400 * MS)
    assert got.stamp == 100 * MS
    ahead = got.scan.ranges[[178, 179, 180, 181]]
    assert np.allclose(ahead, 3.0, atol=0.005)  # 2.9 as the beam measured it
    # and all of it is in the state that a replay starts from
    again = SensorPipeline(config)
    again.restore(made.state())
    assert again.state()['scan_sweeps'] == pytest.approx([0.2 / (beams - 1)])


def test_a_robot_without_camera_does_not_wait_for_one():
    made = SensorPipeline(from_mapping(SensorConfig, {'robot.camera_rate': 0.0}))
    made.on_odom(odom(0), 0)
    made.on_scan(scan(10), 12 * MS)
    made.on_odom(odom(20), 20 * MS)
    assert [o.stamp for o in made.release(20 * MS, 20 * MS)] == [10 * MS]
    with_camera = SensorPipeline(SensorConfig())
    with_camera.on_odom(odom(0), 0)
    with_camera.on_scan(scan(10), 12 * MS)
    with_camera.on_odom(odom(20), 20 * MS)
    assert with_camera.release(20 * MS, 20 * MS) == []  # for two periods it may still come
