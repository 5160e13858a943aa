"""The camera scan of the batched world: its error model, by rates, by arithmetic, by seed."""

import dataclasses
import hashlib
import json
import math

import numpy as np
import pytest

from karpathy_control.bringup.resources import find
from karpathy_control.contracts.config import ConfigError, RobotConfig
from karpathy_control.contracts.layout import SCAN_BEAMS, scan_bearings
from karpathy_control.contracts.types import Pose2
from karpathy_control.contracts.world import Box, Cylinder, World
from karpathy_control.worlds.bank import pack
from karpathy_control.worlds.batched import BatchedWorld, Leg
from karpathy_control.worlds.surrogate import (
    BESIDE,
    BINS,
    CONTEXTS,
    EDGE,
    JUMP,
    LEVELS,
    PLAIN,
    RAYS,
    SCHEMA,
    SHIPPED,
    UNSEEN,
    ErrorModel,
    cell_of_beam,
    describe,
    draw,
    exact,
    levels,
    off_by,
    read_surrogate,
    said,
    shifted,
    to_json,
)
from karpathy_control.worlds.variation import Variation, none

ROBOT = RobotConfig()
CAMERA = ROBOT.camera_pose
NORMAL = np.random.default_rng(3).standard_normal(1 << 16).astype(np.float32)
SHAPE = (len(CONTEXTS), len(BINS))
AHEAD = SCAN_BEAMS // 2


def model(cells=144, limit=5.0, wrong=0.0, unknown=0.0, shift=0.0, stay=(0.0, 0.0),
          aside=(0.0, 0.0), new=(0.0, 0.0)):
    """The same chances in every entry; `shift` is the spread of a normal error."""
    return ErrorModel(cells, limit, np.full(SHAPE, wrong), np.full(SHAPE, unknown),
                      np.broadcast_to(shift * levels(), (*SHAPE, LEVELS)).copy(),
                      *(np.repeat(pair, len(CONTEXTS)).reshape(2, -1)
                        for pair in (stay, aside, new)))


def frames(m, truth, count, plane=None, error=1.0, seed=0):
    """`count` camera scans of a truth that stands. Shape: (count, SCAN_BEAMS)."""
    rng, latent, out = np.random.default_rng(seed), np.zeros((2, SCAN_BEAMS)), []
    prepared = m.draw(CAMERA)
    for k in range(count):
        scan = np.empty(SCAN_BEAMS, np.float32)
        draw(scan, np.array(truth, np.float32),
             np.array(truth if plane is None else plane, np.float32), latent, prepared, error,
             k == 0, NORMAL, int(rng.integers(len(NORMAL))), 2 * int(rng.integers(512)) + 1)
        out.append(scan)
    return np.stack(out)


def wall(distance):
    return np.full(RAYS, distance)


def described(truth, plane, cells, limit=5.0):
    true, behind = np.empty(cells), np.empty(cells)
    context, kind = np.empty(cells, np.int64), np.empty(cells, np.int64)
    describe(truth, plane, limit, true, behind, context, kind)
    return true, behind, context, kind


def test_what_is_nearest_in_a_cell():
    """Of 144 cells each has 720 / 144 = 5 rays and the one at its far edge."""
    truth, plane = wall(4.0), wall(4.0)
    truth[367] = 1.0  # cell 73 holds rays 365 to 370; seen by the camera alone
    plane[403] = truth[403] = 2.0  # cell 80: 400 to 405; the lidar sees it, too
    plane[450] = truth[450] = 3.0  # the edge of cells 89 and 90: in both
    true, behind, context, kind = described(truth, plane, 144)
    assert (true[73], behind[73], context[73]) == (1.0, 4.0, UNSEEN)
    assert (true[80], behind[80], context[80]) == (2.0, 4.0, EDGE)
    for c, beside in ((72, 1.0), (74, 1.0), (79, 2.0), (81, 2.0), (88, 3.0), (91, 3.0)):
        assert (true[c], behind[c], context[c]) == (4.0, beside, BESIDE)
    assert true[89] == true[90] == 3.0
    assert (context[50], behind[50]) == (PLAIN, pytest.approx(4.0 * math.e))
    assert [BINS[kind[c]] for c in (72, 73, 80)] == [3.5, 0.8, 1.8]


def test_every_ray_counts_in_the_cells_that_it_touches():
    """Brute force over the intervals of bearing, for cells that divide the rays and others."""
    rng = np.random.default_rng(4)
    truth = rng.uniform(0.2, 4.9, RAYS)
    for cells in (36, 100, 144, 360):
        true = described(truth, truth, cells)[0]
        ray, edge = np.arange(RAYS + 1) * cells, np.arange(cells + 1) * RAYS
        for c in range(cells):
            inside = (ray >= edge[c]) & (ray <= edge[c + 1])
            assert true[c] == truth[np.flatnonzero(inside) % RAYS].min()


def test_nothing_is_said_between_two_kinds_of_error():
    """A post before a wall is said to be here or there, never halfway: levels 0 and 1."""
    table = np.where(levels() < 1.0, 0.0, 1.0)
    found = np.array([shifted(table, v) for v in np.linspace(-4.0, 4.0, 801)])
    assert set(found) == {0.0, 1.0}
    assert (found > 0.5).mean() == pytest.approx((4.0 - 0.75) / 8.0, abs=0.01)  # from the middle
    near = np.array([0.5 * JUMP * k for k in range(LEVELS)])  # of one kind: straight lines
    assert shifted(near, 0.25) == pytest.approx(0.5 * JUMP * ((0.25 + 3.0) * 2.0))


def test_without_errors_it_is_the_truth_where_the_camera_looks():
    scan = frames(exact(0.45), wall(2.0), 1)[0]
    # 90 degrees about a camera 0.19 m ahead of base: 2 m at b is in view where
    # 2 sin b <= 2 cos b - 0.19, so sin(b - 45) <= -0.0672: b <= 41.15 degrees
    seen = np.abs(np.degrees(scan_bearings())) < 41.0
    np.testing.assert_array_equal(scan[seen], 2.0)
    assert np.isnan(scan[np.abs(np.degrees(scan_bearings())) > 42.0]).all()
    assert np.isnan(frames(exact(0.45), wall(0.44), 1)).all()
    assert np.isposinf(frames(exact(0.45), wall(math.inf), 1)[0, AHEAD])


@pytest.mark.parametrize('distance', [2.0, math.inf])
def test_the_drawn_rates_are_those_of_the_table(distance):
    """Every cell and frame is drawn anew: within four standard errors of a binomial."""
    said = frames(model(wrong=0.1, unknown=0.2), wall(distance), 2000)[:, 152:208]
    cells = said[:, np.unique(cell_of_beam(144)[152:208], return_index=True)[1]]
    wrong = np.isposinf(cells) if math.isfinite(distance) else np.isfinite(cells)
    for share, p in ((wrong.mean(), 0.1), (np.isnan(cells).mean(), 0.2)):
        assert abs(share - p) < 4.0 * math.sqrt(p * (1.0 - p) / cells.size)


def test_the_rates_stay_those_of_the_table_where_errors_last():
    m = model(wrong=0.1, unknown=0.2, stay=(0.9, 0.9), aside=(0.6, 0.6), new=(0.1, 0.1))
    said = frames(m, wall(2.0), 20000)[:, AHEAD]
    # AR(1) of 0.9: at most (1 + 0.9) / (1 - 0.9) = 19 times the variance of as many new draws
    for share, p in ((np.isposinf(said).mean(), 0.1), (np.isnan(said).mean(), 0.2)):
        assert abs(share - p) < 4.0 * math.sqrt(19.0 * p * (1.0 - p) / len(said))


def test_errors_last_as_long_as_the_model_says():
    """A median split of a normal AR(1): P(both) = 1/4 + asin(r) / (2 pi) (Sheppard, 1899)."""
    m = model(unknown=0.5, stay=(0.8, 0.0))
    said = np.isnan(frames(m, wall(2.0), 4000)[:, 160:200:3])
    both = (said[1:] & said[:-1]).mean()
    assert both == pytest.approx(0.25 + math.asin(0.8) / (2.0 * math.pi), abs=0.01)
    cells = np.unique(cell_of_beam(144)[160:200], return_index=True)[1] + 160
    m = model(unknown=0.5, aside=(0.8, 0.0))
    said = np.isnan(frames(m, wall(2.0), 4000)[:, cells])
    both = (said[:, 1:] & said[:, :-1]).mean()
    assert both == pytest.approx(0.25 + math.asin(0.8) / (2.0 * math.pi), abs=0.01)


def test_spread_and_its_multiple():
    for error in (0.0, 1.0, 2.0):
        off = np.log(frames(model(shift=0.05), wall(2.0), 500, error=error)[:, 160:200] / 2.0)
        # levels end at 3 deviations: 0.3 % of the variance is lost, and the cells share beams
        assert np.std(off) == pytest.approx(0.05 * error, rel=0.03, abs=1e-6)
    assert np.isfinite(frames(model(unknown=0.6), wall(2.0), 50, error=0.0)[:, 160:200]).all()


def test_a_thing_that_only_the_camera_sees_is_drawn_towards_what_is_behind():
    m = dataclasses.replace(model(), shift=np.full((*SHAPE, LEVELS), 0.5))
    scan = frames(m, wall(1.0), 1, plane=wall(4.0))[0]
    assert scan[AHEAD] == pytest.approx(2.0)  # half of the way from log 1 to log 4


@pytest.mark.parametrize(('true', 'behind', 'off', 'range_said'), [
    (1.0, 4.0, 0.5, 2.0), (1.0, 4.0, 0.0, 1.0), (1.0, 4.0, 1.0, 4.0),
    (1.0, 4.0, 1.0 + math.log(1.5), 6.0),  # past what is behind: the ratio to it
    (2.0, 4.0, -math.log(2.0), 1.0), (2.0, 20.0, -math.log(2.0), 1.0),  # nearer than the truth
    (4.0, 1.0, 0.5, 2.0), (4.0, 1.0, -math.log(1.5), 6.0), (4.0, 1.0, 1.0 + math.log(2.0), 0.5),
])
def test_how_far_off_a_range_is(true, behind, off, range_said):
    assert said(true, behind, off) == pytest.approx(range_said)
    assert off_by(true, behind, range_said) == pytest.approx(off, abs=1e-12)


@pytest.mark.parametrize(('name', 'change', 'told'), [
    ('cells', {'cells': 3}, 'cells is 3'),
    ('limit', {'limit': 20.0}, 'limit is 20'),
    ('sum', {'wrong': np.full(SHAPE, 0.6), 'unknown': np.full(SHAPE, 0.5)}, 'at most 1'),
    ('negative', {'wrong': np.full(SHAPE, -0.1)}, 'probabilities'),
    ('shape', {'unknown': np.zeros((2, 2))}, r'unknown of shape \(2, 2\)'),
    ('nan', {'shift': np.full((*SHAPE, LEVELS), np.nan)}, 'finite'),
    ('falls', {'shift': np.broadcast_to(-levels(), (*SHAPE, LEVELS))}, 'do not fall'),
    ('stay', {'stay': np.full((2, len(CONTEXTS)), 1.2)}, 'stay is'),
    ('new', {'new': np.zeros(2)}, r'new of shape \(2,\)'),
])
def test_models_that_make_no_sense_are_refused(name, change, told):
    with pytest.raises(ValueError, match=told):
        dataclasses.replace(model(), **change)


def test_a_file_is_read_as_it_was_written_and_refused_by_name(tmp_path):
    m = model(wrong=0.1, shift=0.05, stay=(0.5, 0.25))
    content = {'schema': SCHEMA, 'bins_m': BINS,
               'models': {'learned': to_json(m), 'depth': to_json(exact(0.45))}}
    path = tmp_path / 'surrogate.json'
    path.write_text(json.dumps(content))
    back = read_surrogate(path)
    np.testing.assert_array_equal(back['learned'].wrong, m.wrong)
    np.testing.assert_allclose(back['learned'].shift, m.shift, atol=5e-5)  # four digits
    assert back['learned'].stay.tolist() == [[0.5] * len(CONTEXTS), [0.25] * len(CONTEXTS)]
    assert back['depth'].cells == SCAN_BEAMS
    for broken in ({**content, 'schema': 'other'}, {**content, 'bins_m': [0.0]},
                   {**content, 'models': {}}):
        path.write_text(json.dumps(broken))
        with pytest.raises(ConfigError, match=r'surrogate\.json: .*train surrogate'):
            read_surrogate(path)


def test_the_shipped_model_is_of_the_shipped_encoder():
    content = json.loads(find('config', SHIPPED).read_text())
    weights = find('weights', 'encoder.safetensors').read_bytes()
    assert content['encoder_sha256'] == hashlib.sha256(weights).hexdigest(), (
        'the encoder changed: run `karpathy-control train surrogate`')
    assert set(read_surrogate(find('config', SHIPPED))) == {'learned', 'depth'}


def make_world():
    return World('test', 0, (-20.0, -20.0, 20.0, 20.0), Pose2(), ((5.0, 0.0),),
                 cylinders=(Cylinder(3.0, 1.0, 0.3), Cylinder(2.0, 0.0, 0.3, 0.0, 0.15)),
                 boxes=(Box(0.0, 4.0, 5.0, 0.1), Box(6.0, 0.0, 0.1, 5.0)))


def run(batch, seeds, variation=None, ticks=12):
    """Camera scans of `batch` robots. Shape: (ticks, batch, SCAN_BEAMS)."""
    sim = BatchedWorld(pack([make_world()]), batch, ROBOT, variation,
                       read_surrogate(find('config', SHIPPED)))
    sim.reset(np.arange(batch), [Leg(0, (0.0, 0.0, 0.0), (5.0, 0.0))] * batch, seeds)
    out = []
    for _ in range(ticks):
        sim.step(np.tile((0.5, 0.2), (batch, 1)))
        out.append(sim.camera_scan.copy())
    return np.stack(out), sim


@pytest.mark.parametrize('depth', [0.0, 1.0])
def test_same_seed_same_scans_whatever_the_neighbours(depth):
    variation = dataclasses.replace(Variation(), camera_depth=(depth, depth))
    together, _ = run(3, [7, 5, 9], variation)
    alone, _ = run(1, [5], variation)
    np.testing.assert_array_equal(together[:, 1], alone[:, 0])
    assert not np.array_equal(together[:, 0], together[:, 1], equal_nan=True)


def test_nothing_is_left_of_the_episode_before():
    first, sim = run(1, [5])
    sim.reset([0], [Leg(0, (0.0, 0.0, 0.0), (5.0, 0.0))], [5])
    for k in range(len(first)):
        sim.step(np.array([(0.5, 0.2)]))
        np.testing.assert_array_equal(sim.camera_scan, first[k])


def test_as_many_robots_have_depth_as_the_variation_says():
    n = 400
    _, sim = run(n, np.arange(n), dataclasses.replace(none(), camera_depth=(0.3, 0.3)), 1)
    depth = sim.trait('camera_depth') > 0.0
    assert abs(depth.mean() - 0.3) < 4.0 * math.sqrt(0.3 * 0.7 / n)
    assert np.isnan(sim.depth_points[~depth]).all()
    assert np.isfinite(sim.depth_points[depth]).any(axis=(1, 2)).all()
