"""Frozen scans and images in ray-cast rooms: found while moving, never where a live one is still.

A room is segments; rays are cast by brute force, with no code of the package.
"""

import math
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from karpathy_control.contracts.geometry import compose, integrate_twist, to_frame
from karpathy_control.contracts.types import DepthPoints, Pose2, RawScan
from karpathy_control.mapping import frozen
from karpathy_control.mapping.frozen import FrozenImage, FrozenScan, expected_change, predict

PERIOD = 0.05
MS = 1_000_000
ORIGIN = Pose2()


def box(x0, y0, x1, y1):
    corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    return [(*a, *b) for a, b in zip(corners, corners[1:] + corners[:1], strict=True)]


ROOM = box(-3, -2, 4, 3) + box(1, 1, 1.5, 2) + box(-2, -1.5, -1, -1)
CORRIDOR = [(-100, -1, 100, -1), (-100, 1, 100, 1)]  # without ends, as far as the lidar sees
CLOSED_CORRIDOR = box(-15, -1, 15, 1)
CIRCLE = [(3 * math.cos(a), 3 * math.sin(a), 3 * math.cos(a + 0.01), 3 * math.sin(a + 0.01))
          for a in np.arange(0, 2 * math.pi, 0.01)]
OPEN = []


def cast(segments, pose, bearings, limit=20.0):
    """Nearest hit of each ray, +Inf where there is none. Shape: (n,) m."""
    if not segments:
        return np.full(len(bearings), np.inf)
    s = np.array(segments, float)
    a, d = s[:, :2] - (pose.x, pose.y), s[:, 2:] - s[:, :2]
    angle = pose.yaw + np.asarray(bearings)[:, None]
    c, n = np.cos(angle), np.sin(angle)
    with np.errstate(divide='ignore', invalid='ignore'):
        det = d[:, 0] * n - d[:, 1] * c
        along = (d[:, 0] * a[:, 1] - d[:, 1] * a[:, 0]) / det
        share = (c * a[:, 1] - n * a[:, 0]) / det
        out = np.where((along > 0) & (share >= 0) & (share <= 1), along, np.inf).min(axis=1)
    out[out > limit] = np.inf
    return out


@dataclass
class Lidar:
    segments: list
    beams: int = 360
    fov: float = 2 * math.pi
    noise: float = 0.0
    drop: float = 0.0  # share of beams that answer NaN
    reverse: bool = False
    range_min: float = 0.1
    no_return: float = math.inf
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def __call__(self, pose, ms):
        step = self.fov / self.beams
        bearings = -0.5 * self.fov + (np.arange(self.beams) + 0.5) * step
        if self.reverse:
            bearings, step = bearings[::-1], -step
        ranges = cast(self.segments, pose, bearings)
        ranges += self.noise * self.rng.standard_normal(self.beams)
        ranges[ranges < self.range_min] = -np.inf
        ranges[ranges == np.inf] = self.no_return
        ranges[self.rng.random(self.beams) < self.drop] = np.nan
        return RawScan(ms * MS, float(bearings[0]), step, self.range_min, 20.0,
                       ranges.astype(np.float32))


def drive(lidar, v, w, seconds, freeze=None, thaw=math.inf, start=ORIGIN, watch=None):
    """Verdicts of one drive, 20 Hz; between `freeze` and `thaw` (s) the scan stays the same."""
    watch = watch or FrozenScan()
    pose, kept, out = start, None, []
    for k in range(round(seconds / PERIOD)):
        time = k * PERIOD
        scan = lidar(pose, round(1000 * time))
        if freeze is not None and freeze <= time < thaw:
            kept = kept or scan
            scan = replace(kept, stamp=scan.stamp)
        out.append(watch.update(scan, pose))
        pose = integrate_twist(pose, v, w, PERIOD)
    return out


def found(verdicts, freeze):
    """Seconds from the first frame that should have differed to the verdict."""
    assert not any(verdicts[:round(freeze / PERIOD)])
    assert any(verdicts), 'not found'
    return verdicts.index(True) * PERIOD - freeze


@pytest.mark.parametrize('noise', [0.0, 0.01])
@pytest.mark.parametrize('beams, fov', [(1080, 4.7), (360, 2 * math.pi), (90, 3.0),
                                        (36, 2 * math.pi)])
def test_found_within_half_a_second_in_a_room(beams, fov, noise):
    lidar = Lidar(ROOM, beams, fov, noise, drop=0.05, reverse=beams == 90)
    verdicts = drive(lidar, 0.3, 0.0, 2.0, freeze=1.0)
    assert found(verdicts, 1.0) <= 0.5
    assert all(verdicts[verdicts.index(True):])


@pytest.mark.parametrize('v, w', [(0.0, 0.5), (0.3, 0.4), (-0.3, 0.0), (1.2, 0.0), (0.6, -1.5)])
def test_found_whatever_the_motion(v, w):
    assert found(drive(Lidar(ROOM, noise=0.01), v, w, 2.0, freeze=0.6), 0.6) <= 0.5


def test_found_slowly_too_once_it_should_have_changed():
    verdicts = drive(Lidar(ROOM, noise=0.01), 0.05, 0.0, 4.0, freeze=0.5)
    assert 0.5 < found(verdicts, 0.5) < 2.5  # 0.1 m
    assert not any(drive(Lidar(ROOM), 0.0, 0.0, 3.0, freeze=0.5))


def test_ends_when_the_scan_changes_again_even_while_standing():
    lidar, watch = Lidar(ROOM, noise=0.01), FrozenScan()
    verdicts = drive(lidar, 0.3, 0.0, 1.0, freeze=0.2, watch=watch)
    assert verdicts[-1] and watch.frozen
    stood = Pose2(0.3, 0.0, 0.0)
    frame = lidar(Pose2(0.06, 0, 0), 0)
    for ms in range(1000, 3000, 50):  # it stops and stays frozen: so does the verdict
        verdict = watch.update(replace(frame, stamp=ms * MS), stood)
        if ms == 1000:
            continue  # another noisy frame than before
    assert not verdict
    verdicts = drive(lidar, 0.3, 0.0, 2.0, freeze=0.2, thaw=1.2)
    assert verdicts[round(1.15 / PERIOD)] and not any(verdicts[round(1.2 / PERIOD):])


def test_stays_frozen_while_the_robot_stands_still_for_it():
    watch, scan = FrozenScan(), Lidar(ROOM, noise=0.01)(Pose2(), 0)
    for k in range(20):
        watch.update(replace(scan, stamp=50 * k * MS), Pose2(0.015 * k))
    assert watch.frozen
    for k in range(20, 100):
        assert watch.update(replace(scan, stamp=50 * k * MS), Pose2(0.3))
    assert watch.update(replace(scan, stamp=6000 * MS), Pose2(2.0))  # drives on by camera
    watch.clear()
    assert not watch.frozen


@pytest.mark.parametrize('noise, drop', [(0.0, 0.0), (0.01, 0.0), (0.0, 0.02), (0.01, 0.1)])
@pytest.mark.parametrize('segments, v, w', [
    (ROOM, 0.3, 0.0), (ROOM, 0.0, 1.0), (ROOM, 0.0, 0.0), (ROOM, 0.5, 0.7),
    (CORRIDOR, 0.5, 0.0), (CORRIDOR, 1.2, 0.0), (CORRIDOR, 0.02, 0.0), (CORRIDOR, 0.3, 0.4),
    (CLOSED_CORRIDOR, 0.8, 0.0), (CLOSED_CORRIDOR, -0.3, 0.0), (CLOSED_CORRIDOR, 0.03, 0.0),
    (CIRCLE, 0.0, 1.0), (CIRCLE, 0.2, 0.0), (OPEN, 1.0, 0.5)])
def test_a_live_scan_is_never_frozen(segments, v, w, noise, drop):
    lidar = Lidar(segments, 120, 2 * math.pi, noise, drop)
    assert not any(drive(lidar, v, w, 2.5))


def test_spinning_in_a_perfect_circle_cannot_be_told():
    """The documented limit: frozen or not, the scan is the same. Out of the middle it is found."""
    assert not any(drive(Lidar(CIRCLE), 0.0, 1.0, 2.0, freeze=0.5))
    off = drive(Lidar(CIRCLE), 0.0, 1.0, 2.0, freeze=0.5, start=Pose2(0.5, 0.0, 0.0))
    assert found(off, 0.5) <= 0.5


def test_a_driver_that_gives_its_range_for_nothing_is_not_frozen_in_the_open():
    assert not any(drive(Lidar(OPEN, no_return=20.0), 1.0, 0.0, 2.0))
    assert not any(drive(Lidar(OPEN, no_return=0.0), 1.0, 0.3, 2.0))


def test_a_driver_that_sends_each_scan_twice_is_not_frozen():
    lidar, watch, pose = Lidar(ROOM), FrozenScan(), Pose2(-2.0)
    for k in range(40):
        scan = lidar(pose, 100 * k)
        assert not watch.update(scan, pose)
        pose = integrate_twist(pose, 1.2, 0.0, PERIOD)
        assert not watch.update(replace(scan, stamp=(100 * k + 50) * MS), pose)
        pose = integrate_twist(pose, 1.2, 0.0, PERIOD)


def test_a_jump_of_odometry_is_not_motion():
    watch, scan = FrozenScan(), Lidar(ROOM)(Pose2(), 0)
    for k in range(40):  # stands; the pose is reset after a second
        assert not watch.update(replace(scan, stamp=50 * k * MS),
                                Pose2(1.0 if k < 20 else 0.0, 0.0, 0.0))
    assert not watch.update(replace(scan, stamp=0), Pose2(0.5))  # time went back


def test_another_layout_starts_anew():
    watch = FrozenScan()
    for k in range(60):
        lidar = Lidar(ROOM, 360 if k % 2 else 180)
        assert not watch.update(lidar(Pose2(), 50 * k), Pose2(0.015 * k))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_rooms_of_every_kind(seed):
    """Live: no alarm. Frozen: found within half a second at 0.3 m/s, walls being near enough."""
    rng = np.random.default_rng(seed)
    x0, y0 = -rng.uniform(1.0, 4.0, 2)
    x1, y1 = rng.uniform(1.5, 4.0, 2)
    segments = box(x0, y0, x1, y1)
    for _ in range(rng.integers(0, 4)):
        x, y = rng.uniform((x0, y0), (x1, y1))
        if math.hypot(x, y) > 1.0:
            segments += box(x, y, x + rng.uniform(0.1, 0.6), y + rng.uniform(0.1, 0.6))
    lidar = Lidar(segments, int(rng.integers(60, 400)), float(rng.uniform(3.0, 2 * math.pi)),
                  float(rng.choice([0.0, 0.005, 0.01])), float(rng.choice([0.0, 0.1])),
                  bool(rng.integers(2)), rng=rng)
    w = float(rng.choice([0.0, rng.uniform(-0.8, 0.8)]))
    start = Pose2(0.0, 0.0, float(rng.uniform(-math.pi, math.pi)))
    assert not any(drive(lidar, 0.3, w, 1.0, start=start))
    assert found(drive(lidar, 0.3, w, 1.2, freeze=0.4, start=start), 0.4) <= 0.5


def test_the_mounting_turns_and_moves_the_sensor():
    """Upside down and looking back, ahead of the axis: the same room, the same verdicts."""
    lidar, mount = Lidar(ROOM, 360, 4.0, 0.01), (0.2, 0.05, 0.3, math.pi, 0.0, math.pi)
    watch, pose = FrozenScan(mount), Pose2(-1.0, 1.0, 0.3)
    out = []
    for k in range(40):
        scan = lidar(compose(pose, Pose2(0.2, 0.05, math.pi)), 50 * k)
        if k <= 20:
            kept = scan
        flipped = replace(kept, stamp=scan.stamp, angle_min=-kept.angle_min,
                          angle_increment=-kept.angle_increment)
        out.append(watch.update(flipped, pose))
        pose = integrate_twist(pose, 0.3, 0.5, PERIOD)
    assert found(out, 1.0) <= 0.5


def test_prediction_is_what_the_ray_caster_sees():
    step = math.radians(1.0)
    bearings = -math.pi + (np.arange(360) + 0.5) * step
    moved = Pose2(0.12, -0.03, 0.2)
    before, after = cast(ROOM, Pose2(), bearings), cast(ROOM, moved, bearings)
    predicted = predict(before, float(bearings[0]), step, moved)
    known = np.isfinite(predicted)
    assert known.mean() > 0.8
    error = np.abs(predicted - after)[known]
    assert np.quantile(error, 0.9) < 0.01 and np.mean(error > 0.04) < 0.05
    assert np.isnan(predict(np.full(9, np.nan), 0.0, 0.1, moved)).all()


# -- depth points ---------------------------------------------------------------------------------


def depth_points(segments, base, ms, rng, origin=(0.19, 0.0)):
    camera = compose(base, Pose2(*origin, 0.0))
    bearings = np.radians(np.linspace(-44, 44, 300))
    ranges = cast(segments, camera, bearings) * (1 + 0.002 * rng.standard_normal(300))
    seen = np.isfinite(ranges) & (ranges < 5)
    x, y = origin[0] + ranges * np.cos(bearings), origin[1] + ranges * np.sin(bearings)
    xyz = np.stack((x, y, np.full(300, 0.2)), 1)[seen]
    xyz = np.concatenate((xyz, [[np.nan, 0, 0], [4.9, 0.0, 0.0]])).astype(np.float32)
    kind = np.append(np.zeros(len(xyz) - 1), DepthPoints.FREE).astype(np.float32)
    return DepthPoints(ms * MS, xyz, kind, origin)


@pytest.mark.parametrize('freeze', [None, 0.5])
def test_depth_points(freeze):
    watch, pose, out, rng = FrozenScan(), Pose2(-1.0, 0.0, 0.2), [], np.random.default_rng(0)
    for k in range(30):
        points = depth_points(ROOM, pose, 50 * k, rng)
        if freeze is None or k * PERIOD <= freeze:
            kept = points
        out.append(watch.update_points(replace(kept, stamp=points.stamp), pose))
        pose = integrate_twist(pose, 0.3, 0.1, PERIOD)
    if freeze is None:
        assert not any(out)
    else:
        assert found(out, freeze) <= 0.5


def test_no_points_is_open_space():
    watch = FrozenScan()
    for k in range(40):
        nothing = DepthPoints(50 * k * MS, np.zeros((0, 3), np.float32), np.zeros(0, np.float32))
        assert not watch.update_points(nothing, Pose2(0.05 * k))


# -- images ---------------------------------------------------------------------------------------


def picture(pose, depth=4.0, noise=0.0, rng=None, contrast=1.0):
    """A pinhole image of a striped and spotted wall `depth` m ahead of the origin of odom."""
    u, v = np.meshgrid((np.arange(128) - 63.5) / 64, (np.arange(96) - 47.5) / 64)
    angle = pose.yaw - np.arctan(u)
    ahead = depth - pose.x
    y = pose.y + ahead * np.tan(angle)
    z = v * np.hypot(ahead, y - pose.y) / np.sqrt(1 + u**2)
    grey = 120 + contrast * (60 * (np.sin(7 * y) > 0) + 40 * (np.sin(5 * z + 2 * y) > 0))
    if noise:
        grey = grey + noise * rng.standard_normal(grey.shape)
    return np.repeat(grey[:, :, None], 3, 2).clip(0, 255).astype(np.uint8)


def film(v, w, seconds, freeze=None, **view):
    watch, pose, out = FrozenImage(), Pose2(), []
    rng = np.random.default_rng(0)
    for k in range(round(seconds / PERIOD)):
        image = picture(pose, rng=rng, **view)
        if freeze is None or k * PERIOD <= freeze:
            kept = image
        out.append(watch.update(round(50 * k) * MS, kept, pose))
        pose = integrate_twist(pose, v, w, PERIOD)
    return out


@pytest.mark.parametrize('noise', [0.0, 2.0])
@pytest.mark.parametrize('v, w', [(0.0, 0.3), (0.0, -0.3), (0.3, 0.0), (-0.3, 0.0), (0.3, 0.5)])
def test_a_frozen_image_is_found(v, w, noise):
    out = film(v, w, 2.0, freeze=0.6, noise=noise)
    assert found(out, 0.6) <= 0.5
    assert out[-1]


@pytest.mark.parametrize('view', [{}, {'noise': 2.0}, {'depth': 30.0}, {'contrast': 0.0}])
@pytest.mark.parametrize('v, w', [(0.0, 0.0), (0.3, 0.0), (1.0, 0.0), (0.0, 0.4), (0.02, 0.0),
                                  (0.0, 0.01)])
def test_a_live_image_is_never_frozen(v, w, view):
    assert not any(film(v, w, 2.5, **view))


def test_an_image_without_texture_tells_nothing():
    assert not any(film(0.3, 0.3, 4.0, freeze=0.5, contrast=0.0))


def test_a_frozen_image_ends_at_once_and_is_forgotten():
    watch, image = FrozenImage(), picture(Pose2())
    for k in range(20):
        watch.update(50 * k * MS, image, Pose2(0.0, 0.0, 0.02 * k))
    assert watch.frozen
    assert watch.update(1000 * MS, image, Pose2(0.0, 0.0, 0.4))  # stands
    assert not watch.update(1050 * MS, picture(Pose2(0.0, 0.0, 0.4)), Pose2(0.0, 0.0, 0.4))
    watch.clear()
    assert not watch.update(1100 * MS, image[:50], Pose2())
    assert not watch.update(1150 * MS, image, Pose2())


def test_expected_change_by_hand():
    """A step of 100 grey levels in the middle: one of 8 columns changes by a shift of one."""
    grey = np.zeros((4, 9), np.float32)
    grey[:, 5:] = 100.0
    assert expected_change(grey, 10.0, math.atan(0.1), 0.0) == pytest.approx(100 / 8)
    assert expected_change(grey, 10.0, -math.atan(0.1), 0.0) == pytest.approx(100 / 8)
    assert expected_change(grey, 10.0, 0.0, 0.0) == 0.0
    assert expected_change(np.full((4, 9), 7.0, np.float32), 10.0, 0.5, 1.0) < 1e-5
    assert expected_change(grey, 10.0, math.atan(0.049), 0.099) == 0.0  # between the pixels
    assert frozen.VIEW_DEPTH == 10.0
    # grown by 1.1 about the middle (4): columns 4 and 5 are read at 4 and 4.909
    assert expected_change(grey, 10.0, 0.0, 1.0) == pytest.approx(100 * (1 - 0.909090) / 9, 1e-3)


def test_poses_in_the_first_frame():
    np.testing.assert_allclose(to_frame([[1.0, 1.0]], Pose2(1.0, 0.0, math.pi / 2)), [[1, 0]],
                               atol=1e-12)
