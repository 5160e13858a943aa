"""Worlds in files: round trip, the formats of the benchmarks, and what is refused."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import CubicHermiteSpline

from karpathy_control.contracts.config import ConfigError
from karpathy_control.worlds.benchmarks import spline
from karpathy_control.worlds.files import read_worlds, worlds_text, write_worlds
from karpathy_control.worlds.generators import generate

BARN = {
    'schema': 'barn-v1-test', 'cell': 0.15, 'origin': [-4.425, 0.075], 'cylinder_radius': 0.075,
    'cylinder_height_above_ground': 0.5, 'start_pose': [-2.25, 3, 1.57], 'goal': [-2.25, 13],
    'walls': [[0, 0], [0, 1]], 'worlds': [{'i': 7, 'obs': [2, 40, 3, 41], 'L': 10.5}]}
DYNABARN = {
    'schema': 'dynabarn-v1-test', 'cylinder_radius': 0.5, 'cylinder_height': 1.0,
    'start_pose': [11, 0, 3.14], 'goal': [-9, 0],
    'walls_boxes': [{'cx': -10, 'cy': 0, 'sx': 0.5, 'sy': 20}],
    'trajectories': [{'txy': [[0, 0, 0], [1, 1, 0]]},
                     {'txy': [[0.0, 10, 3], [2.0, 8, 4], [5.0, 6, 5]]}],
    'worlds': [{'index': 301, 'difficulty': ['easy'], 'obstacles': [1]}]}
POSE = '<pose>{} {} {} 0 {} {}</pose>'


TURNED = POSE.format(1, 2, 0.5, 0, 1.5707963)


def sdf(collision, model=TURNED, extra=''):
    return (f'<sdf version="1.6"><world name="w"><model name="m">{model}<link name="l">'
            f'<collision name="c">{collision}</collision></link></model>{extra}</world></sdf>')


CYLINDER = ('<geometry><cylinder><radius>0.075</radius><length>1.0</length></cylinder></geometry>')


def test_what_is_written_is_read_back(tmp_path):
    worlds = [generate(family, 3) for family in ('moving', 'low', 'rooms', 'swarm', 'people')]
    assert worlds[-1].people
    write_worlds(tmp_path / 'deep' / 'w.json', worlds)
    assert read_worlds(tmp_path / 'deep' / 'w.json') == worlds
    write_worlds(tmp_path / 'deep' / 'a.json', worlds[1:2])
    assert read_worlds(tmp_path / 'deep') == [worlds[1], *worlds]


def test_a_file_of_before_there_were_people_is_read(tmp_path):
    world = generate('moving', 3)
    data = json.loads(worlds_text([world]))
    del data['worlds'][0]['people']
    (tmp_path / 'w.json').write_text(json.dumps(data))
    assert read_worlds(tmp_path / 'w.json') == [world]


@pytest.mark.parametrize(('change', 'message'), [
    ({'radius': -0.2}, 'radius'), ({'waypoints': [[0, 0]]}, 'at least two'),
    ({'waypoints': [[0, 0], [1, float('nan')]]}, 'people holds nan'), ({'speed': 0}, '0 m/s'),
    ({'mood': 'good'}, 'mood')])
def test_people_that_cannot_be_are_refused(tmp_path, change, message):
    data = json.loads(worlds_text([generate('people', 3)]))
    data['worlds'][0]['people'][0].update(change)
    (tmp_path / 'w.json').write_text(json.dumps(data))
    with pytest.raises(ConfigError, match=message):
        read_worlds(tmp_path / 'w.json')


def test_barn_cells_become_cylinders(tmp_path):
    (tmp_path / 'b.json').write_text(json.dumps(BARN))
    world, = read_worlds(tmp_path / 'b.json')
    assert (world.family, world.seed, world.path_length) == ('barn', 7, 10.5)
    assert len(world.cylinders) == 4
    # cell (2, 40): -4.425 + 0.3, 0.075 + 6
    assert (world.cylinders[2].x, world.cylinders[2].y) == pytest.approx((-4.125, 6.075))
    assert world.cylinders[2].radius == 0.075
    assert (world.start.yaw, world.goals) == (1.57, ((-2.25, 13),))


def test_dynabarn_lanes_become_keyframes(tmp_path):
    (tmp_path / 'd.json').write_text(json.dumps(DYNABARN))
    world, = read_worlds(tmp_path / 'd.json')
    assert world.family == 'dynabarn_easy'
    mover, = world.movers
    assert mover.period == 5.0
    assert mover.position(2.0) == pytest.approx((8.0, 4.0))
    # a straight line; half-way through the first piece with tangents (-1, .5) and (-2, 1):
    # the middle of the ends and an eighth of the difference of the tangents: 9 + 1/8, 3.5 - 1/16
    assert mover.position(1.0) == pytest.approx((9.125, 3.4375))
    wall, = world.boxes
    assert (wall.half_x, wall.half_y) == (0.25, 10.0)


@given(st.integers(2, 7), st.integers(0, 2**31))
def test_the_spline_agrees_with_scipy(count, seed):
    rng = np.random.default_rng(seed)
    txy = np.column_stack((np.concatenate(([0.0], np.cumsum(rng.uniform(0.1, 3.0, count - 1)))),
                           rng.uniform(-9, 9, (count, 2))))
    points = txy[:, 1:]
    ends = np.concatenate(([0.5 * (points[1] - points[0])], 0.5 * (points[2:] - points[:-2]),
                           [0.5 * (points[-1] - points[-2])]))
    keys = np.array(spline(txy))
    for i in range(count - 1):
        inside = keys[(keys[:, 0] >= txy[i, 0]) & (keys[:, 0] < txy[i + 1, 0])]
        share = (inside[:, 0] - txy[i, 0]) / (txy[i + 1, 0] - txy[i, 0])
        piece = CubicHermiteSpline([0, 1], points[i:i + 2], ends[i:i + 2])
        np.testing.assert_allclose(inside[:, 1:], piece(share), atol=1e-9)
    assert np.all(np.diff(keys[:, 0]) > 0.0)
    assert keys[-1] == pytest.approx(txy[-1])


def test_a_gazebo_world_has_its_shapes_where_their_poses_say(tmp_path):
    box = ('<pose>1 0 0 0 0 0.2</pose><geometry><box><size>0.4 0.2 1.0</size></box></geometry>')
    plane = '<geometry><plane><normal>0 0 1</normal></plane></geometry>'
    extra = (f'<model name="n"><link name="l"><collision name="p">{plane}</collision>'
             f'<collision name="c">{CYLINDER}</collision></link></model>')
    (tmp_path / 'world_17.world').write_text(sdf(box, extra=extra))
    world, = read_worlds(tmp_path / 'world_17.world')
    assert world.seed == 17
    found, = world.boxes
    # the model stands at (1, 2) and is turned by a quarter: its x axis points along y
    assert (found.x, found.y) == pytest.approx((1.0, 3.0))
    assert found.yaw == pytest.approx(np.pi / 2 + 0.2)
    assert (found.half_x, found.half_y, found.bottom, found.top) == pytest.approx(
        (0.2, 0.1, 0.0, 1.0))
    assert (world.cylinders[0].bottom, world.cylinders[0].top) == (-0.5, 0.5)
    # nothing between start and goal, 10 m apart on a grid of 15 cm
    assert world.path_length == pytest.approx(10.0, abs=0.2)


@pytest.mark.parametrize(('name', 'text', 'message'), [
    ('a.json', '{', 'holds what is no world'),
    ('a.json', '[]', 'takes an object with a schema, got list'),
    ('a.json', '{"schema": "mars-v1"}', "schema 'mars-v1' is unknown; it takes karpathy"),
    ('a.json', json.dumps({**BARN, 'worlds': []}), 'holds no world'),
    ('a.json', json.dumps({**BARN, 'goal': [0]}), 'no goal'),
    ('a.json', json.dumps({**BARN, 'goal': [0, float('nan')]}), 'goals holds nan'),
    ('a.json', json.dumps({**BARN, 'cylinder_radius': -1}), 'radius'),
    ('a.json', json.dumps({**BARN, 'worlds': [{'i': 1, 'obs': [1], 'L': 1}]}), 'no world'),
    ('a.json', json.dumps({**DYNABARN, 'worlds': [
        {'index': 1, 'difficulty': ['easy'], 'obstacles': [9]}]}), 'no world'),
    ('a.world', '<sdf>', 'not well-formed XML'),
    ('a.world', '<!DOCTYPE x [<!ENTITY a "b">]><sdf/>', 'document type definition'),
    ('a.world', sdf('<geometry><sphere><radius>1</radius></sphere></geometry>'), 'is a sphere'),
    ('a.world', sdf('<geometry/>'), 'is a nothing'),
    ('a.world', sdf(CYLINDER, POSE.format(0, 0, 0, 0.3, 0)), 'tilted'),
    ('a.world', sdf(CYLINDER, '<pose>1 2</pose>'), 'six numbers'),
    ('a.world', sdf(CYLINDER.replace('0.075', 'wide')), 'no world'),
    ('a.world', sdf(CYLINDER.replace('0.075', 'nan')), 'nan'),
])
def test_what_is_no_world_is_refused_by_name(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=message) as error:
        read_worlds(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)


def test_missing_files_and_empty_folders_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r'nowhere\.json'):
        read_worlds(tmp_path / 'nowhere.json')
    with pytest.raises(ConfigError, match=r'no \.json or \.world file'):
        read_worlds(tmp_path)
