import math

import numpy as np
import pytest

from karpathy_control.contracts.layout import ENTITY_CLASSES, ENTITY_COLOURS, ENTITY_FIELDS
from karpathy_control.contracts.types import Command, DepthPoints, Scan, State

pytest.importorskip('rerun', reason='rerun-sdk is not installed')
from karpathy_control.viewing import scene


def only(logs):
    """The archetypes by entity path; each path occurs once."""
    found = dict(logs)
    assert len(found) == len(logs)
    return found


def values(batch):
    """Contents of a component batch as plain Python."""
    return batch.as_arrow_array().to_pylist()


def rgb(batch):
    return [(c >> 24, c >> 16 & 255, c >> 8 & 255) for c in values(batch)]


def test_a_pose_moves_the_base_in_odom():
    logs = only(scene.pose(State(0, 1.0, 2.0, 0.5 * math.pi, 0.3, -0.4)))
    base = logs['odom/base']
    assert values(base.translation) == [[1.0, 2.0, 0.0]]
    half = math.sqrt(0.5)  # a quarter turn about z: sin and cos of 45 degrees, x y z w
    assert values(base.quaternion)[0] == pytest.approx([0.0, 0.0, half, half])
    assert values(logs['speed/odom'].scalars) == [0.3]
    assert values(logs['turn/odom'].scalars) == [-0.4]


def test_a_scan_shows_what_was_hit_where_it_was_hit():
    ranges = np.full(360, np.inf, np.float32)
    ranges[[180, 270]] = 2.0, 3.0  # half a degree left of ahead, and of the left side
    ranges[10] = np.nan
    logs = only(scene.scan('lidar', Scan(0, ranges, 10.0)))
    points = np.array(values(logs['odom/base/lidar'].positions))
    step = math.radians(0.5)
    expected = [(2 * math.cos(step), 2 * math.sin(step)),
                (-3 * math.sin(step), 3 * math.cos(step))]
    assert points[:, :2] == pytest.approx(np.array(expected), abs=1e-5)
    assert (points[:, 2] == points[0, 2]).all()


def test_depth_shows_obstacles_and_not_what_is_free():
    points = DepthPoints(0, np.array([(1, 0, 0.1), (2, 0, 0.0), (1, 1, 0.3)], np.float32),
                         np.array([0.0, 1.0, 0.0], np.float32))
    shown = np.array(values(only(scene.depth(points))['odom/base/depth'].positions))
    assert shown == pytest.approx(points.xyz[[0, 2]])


def test_entities_have_the_colour_of_their_class_and_arrows_where_they_move():
    table = np.zeros((4, len(ENTITY_FIELDS)), np.float32)
    field = {name: k for k, name in enumerate(ENTITY_FIELDS)}
    for row, (name, confidence, vx) in enumerate([('static', 0.9, 0.0), ('moving', 0.8, 0.5),
                                                  ('low', 0.2, 0.0), ('free', 0.9, 0.0)]):
        table[row, [field['x'], field['confidence'], field['vx'], field['radius']]] = (
            row + 1, confidence, vx, 0.2)
        table[row, field['label']] = ENTITY_CLASSES.index(name)
    logs = only(scene.entities(table))
    boxes, arrows = logs['odom/base/entities'], logs['odom/base/velocities']
    # the low one is unsure, and what is free is nothing
    assert values(boxes.centers) == [[1.0, 0.0, 0.0], [2.0, 0.0, 0.0]]
    assert rgb(boxes.colors) == [ENTITY_COLOURS[1], ENTITY_COLOURS[4]]
    assert values(boxes.labels) == ['static', 'moving']
    assert values(arrows.origins) == [[2.0, 0.0, 0.0]]
    assert values(arrows.vectors) == [[0.5, 0.0, 0.0]]
    assert rgb(arrows.colors) == [ENTITY_COLOURS[4]]


def test_nothing_to_show_clears_what_was_shown():
    assert values(only(scene.goal(None))['odom/goal'].positions) == []
    assert values(only(scene.path(np.zeros((0, 2), np.float32)))['odom/path'].strips) == []
    assert values(only(scene.entities(np.zeros((0, len(ENTITY_FIELDS)), np.float32)))[
        'odom/base/entities'].centers) == []


def test_a_grid_lies_where_its_corner_is():
    cells = np.array([[0, 100, -1], [0, 0, 50]], np.int8)
    grid = only(scene.grid(cells, 0.05, (-1.0, 2.0)))['odom/map']
    form = values(grid.format)[0]
    assert (form['width'], form['height']) == (3, 2)
    assert bytes(values(grid.data)[0]) == bytes([0, 100, 255, 0, 0, 50])
    assert values(grid.translation)[0][:2] == [-1.0, 2.0]
    assert values(grid.cell_size) == pytest.approx([0.05])


def test_commands_modes_and_times_have_names_of_their_own():
    logs = only(scene.command('applied', Command(0.5, 0.1)) + scene.command(
        'proposed', Command(0.6, 0.2)) + scene.mode('autonomous') + scene.latency('policy', 2.5))
    assert values(logs['speed/applied'].scalars) == [0.5]
    assert values(logs['turn/proposed'].scalars) == [0.2]
    assert values(logs['mode'].state) == ['autonomous']
    assert values(logs['latency/policy'].scalars) == [2.5]


def test_a_state_begins_with_mode_and_reasons():
    logs = only(scene.state('stopped', {'reasons': 'odom_lost', 'age_odom_ms': '300'}))
    text = values(logs['state'].text)[0]
    assert text.startswith('**stopped** odom_lost') and '| age_odom_ms | 300 |' in text


def test_the_layout_shows_every_tree():
    """A view whose origin nothing is drawn below would stay empty."""
    origins = {'odom', 'mode', 'camera', 'state', 'speed', 'turn', 'latency'}
    names = {path.split('/')[0] for logs in (
        scene.pose(State(0, 0, 0, 0, 0, 0)), scene.mode('a'), scene.state('a', {}),
        scene.latency('a', 1.0), scene.image(np.zeros((4, 4, 3), np.uint8)))
        for path, _ in logs}
    assert names == origins
    root = scene.blueprint().root_container
    found = set()

    def walk(part):
        for child in getattr(part, 'contents', []):
            if hasattr(child, 'origin'):
                found.add(child.origin)
            else:
                walk(child)

    walk(root)
    assert found == origins
