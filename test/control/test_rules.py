"""Zones and rules against shapely, and every way in which a rules file can be wrong."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from shapely.geometry import LineString, Point, Polygon

from karpathy_control.bringup.resources import share
from karpathy_control.contracts.config import ConfigError
from karpathy_control.contracts.files import read_text
from karpathy_control.contracts.layout import ENTITY_CLASSES, ENTITY_FIELDS
from karpathy_control.contracts.types import Pose2
from karpathy_control.control.rules import (
    EMPTY,
    MAX_BYTES,
    EntityRule,
    Rules,
    RuleVerdict,
    Zone,
    _between,
    _polygon,
    fence_points,
    inside,
    limits,
    load_rules,
)

SQUARE = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]])
MOVING = ENTITY_CLASSES.index('moving')


def load(tmp_path, text):
    path = tmp_path / 'rules.yaml'
    path.write_text(text)
    return load_rules(path)


def table(*rows):
    out = np.zeros((36, len(ENTITY_FIELDS)), np.float32)
    for i, row in enumerate(rows):
        for name, value in {'confidence': 1.0, 'label': MOVING, **row}.items():
            out[i, ENTITY_FIELDS.index(name)] = value
    return out


# -- geometry against shapely ---------------------------------------------------------------------

STEPS = st.integers(-8, 8).map(lambda n: 0.5 * n)  # a grid: corners and borders are hit often
CORNERS = st.lists(st.tuples(STEPS, STEPS), min_size=3, max_size=9)


@settings(max_examples=400, deadline=None)
@given(CORNERS, st.lists(st.tuples(STEPS, STEPS), min_size=1, max_size=20))
def test_inside_is_what_shapely_says(corners, points):
    polygon = Polygon(corners)
    assume(polygon.is_valid and polygon.area > 0)
    for x, y in points:
        assert inside(np.array(corners), x, y) == polygon.covers(Point(x, y)), (x, y)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_inside_at_random_places(seed):
    rng = np.random.default_rng(seed)
    angle = np.sort(rng.uniform(0, 2 * math.pi, 12))
    polygon = (rng.uniform(0.5, 3.0, 12) * np.array([np.cos(angle), np.sin(angle)])).T
    assume(Polygon(polygon).is_valid)
    for x, y in rng.uniform(-3, 3, (50, 2)):
        assert inside(polygon, x, y) == Polygon(polygon).covers(Point(x, y))


@settings(max_examples=400, deadline=None)
@given(CORNERS)
def test_borders_that_meet_themselves_are_refused_as_shapely_does(corners):
    try:
        valid = Polygon(corners).is_valid and LineString([*corners, corners[0]]).is_simple and (
            all(corners[i] != corners[i - 1] for i in range(len(corners))))
    except ValueError:
        valid = False
    try:
        _polygon('zone', [list(corner) for corner in corners])
        taken = True
    except ConfigError:
        taken = False
    assert taken == valid


@settings(max_examples=100, deadline=None)
@given(CORNERS, st.floats(0.02, 3.0))
def test_the_fence_follows_the_border_without_a_gap(corners, spacing):
    polygon = Polygon(corners)
    assume(polygon.is_valid and polygon.area > 0)
    points = fence_points(Rules(keep_out=(Zone('a', np.array(corners)),)), spacing)
    around = np.roll(points, -1, axis=0) - points
    assert np.hypot(*around.T).max() <= spacing * (1 + 1e-9)
    assert max(polygon.exterior.distance(Point(p)) for p in points) < 1e-9
    assert {tuple(c) for c in corners} <= {tuple(p) for p in points}  # every corner


def test_fences_of_all_keep_out_zones_and_of_no_other():
    far = SQUARE + 10.0
    rules = Rules((Zone('speed', SQUARE, 0.5),), (Zone('a', SQUARE), Zone('b', far)))
    points = fence_points(rules, 0.5)
    assert len(points) == 2 * 4 * 4  # sides of 2 m
    assert fence_points(EMPTY, 0.1).shape == (0, 2)


# -- verdicts -------------------------------------------------------------------------------------


def test_the_least_limit_of_all_that_hold():
    rules = Rules((Zone('wide', SQUARE * 2, 0.8), Zone('slow', SQUARE, 0.3),
                   Zone('area', SQUARE)), (Zone('hole', SQUARE - 1.0),))
    assert limits(rules, Pose2(1.5, 1.5), None) == RuleVerdict(0.3, False, ('wide', 'slow'))
    assert limits(rules, Pose2(3.0, 3.0), None) == RuleVerdict(0.8, False, ('wide',))
    assert limits(rules, Pose2(-0.5, 0.5), None) == RuleVerdict(None, True, ('hole',))
    assert limits(rules, Pose2(0.5, 0.5), None) == RuleVerdict(
        0.3, True, ('wide', 'slow', 'hole'))
    assert limits(rules, Pose2(9.0, 9.0), None) == limits(EMPTY, Pose2(), table()) == RuleVerdict()


def people(**changes):
    return Rules(entities=(EntityRule(**{
        'name': 'people', 'classes': (MOVING,), 'within': 2.0, 'max_speed': 0.5,
        'when_blind': 0.7, **changes}),))


@pytest.mark.parametrize(('row', 'holds'), [
    ({'x': 2.4, 'radius': 0.5}, True),  # near edge at 1.9 m
    ({'x': 2.6, 'radius': 0.5}, False),  # 2.1 m
    ({'x': -1.4, 'y': -1.4}, True),  # 1.98 m, behind
    ({'x': 1.0, 'label': ENTITY_CLASSES.index('static')}, False),
    ({'x': 1.0, 'confidence': 0.49}, False),
    ({'x': 1.0, 'confidence': 0.5}, True),
])
def test_slow_near_people(row, holds):
    verdict = limits(people(), Pose2(5.0, 5.0), table({'x': 9.0}, row))
    assert verdict == (RuleVerdict(0.5, False, ('people',)) if holds else RuleVerdict())


def test_near_is_as_near_as_the_rule_says():
    holds = RuleVerdict(0.5, False, ('people',))
    assert limits(people(), Pose2(), table({'x': 2.0})) == holds
    assert limits(people(), Pose2(), table({'x': 0.0, 'y': -2.5, 'radius': 0.5})) == holds


def test_a_rule_that_does_not_hold_here_leaves_the_next_ones_alone():
    elsewhere = people(zone=Zone('hall', SQUARE + 50.0)).entities
    rules = Rules(entities=elsewhere + people(name='all', max_speed=0.4).entities)
    assert limits(rules, Pose2(), table({'x': 1.0})) == RuleVerdict(0.4, False, ('all',))


def test_only_what_a_rule_reads_must_be_finite():
    rows = table({'x': 1.0})
    rows[:, ENTITY_FIELDS.index('label') + 1:] = math.nan
    assert limits(people(), Pose2(), rows) == RuleVerdict(0.5, False, ('people',))


def test_rows_that_say_nothing_are_nobody():
    assert limits(people(), Pose2(), table()) == RuleVerdict()  # a free robot: zero confidence


@pytest.mark.parametrize('blind', [
    None, table({'x': math.nan}), table({'x': 9.0, 'confidence': math.inf}),
    np.zeros((3, 4), np.float32), np.zeros(24, np.float32)])
def test_what_cannot_be_judged_is_blindness(blind):
    assert limits(people(), Pose2(), blind) == RuleVerdict(0.7, False, ('people',))
    assert limits(people(when_blind=None), Pose2(), blind) == RuleVerdict()


def test_a_rule_of_a_zone_holds_only_there():
    rules = people(zone=Zone('hall', SQUARE))
    near = table({'x': 1.0})
    assert limits(rules, Pose2(1.0, 1.0), near).speed_limit == 0.5
    assert limits(rules, Pose2(3.0, 1.0), near) == RuleVerdict()
    assert limits(rules, Pose2(3.0, 1.0), None) == RuleVerdict()


# -- the file -------------------------------------------------------------------------------------


def test_the_shipped_example():
    rules = load_rules(share() / 'config' / 'rules.yaml')
    assert [zone.name for zone in rules.zones] == ['ramp', 'canteen']
    assert rules.zones[1].max_speed is None and rules.keep_out[0].name == 'stairs'
    slow, slower, careful = rules.entities
    assert slow.classes == (MOVING,) and slow.when_blind == 0.8
    assert slower.zone is rules.zones[1]
    assert careful.classes == (3, 2) and careful.when_blind is None


FULL = '''
zones:
- {name: hall, polygon: [[0, 0], [4, 0], [4, 3], [0, 3]], max_speed: 0.05}
- {name: yard, polygon: [[1, 1], [2, 5], [-3, 4]]}
keep_out:
- {name: hole, polygon: [[-1, 0.5], [-2, 0.5], [-2, -100000]]}
entities:
- {name: people, class: moving, within: 100, max_speed: 4, zone: yard}
- {name: all, class: [low, static], within: 0, max_speed: 0, min_confidence: 1, when_blind: 4}
'''


def test_a_file_is_read_whole(tmp_path):
    rules = load(tmp_path, FULL)
    hall, yard = rules.zones
    assert (hall.name, hall.max_speed) == ('hall', 0.05)
    assert hall.polygon.tolist() == [[0, 0], [4, 0], [4, 3], [0, 3]]
    assert (yard.name, yard.max_speed) == ('yard', None)
    hole, = rules.keep_out
    assert (hole.name, hole.max_speed) == ('hole', None)
    assert hole.polygon.tolist() == [[-1, 0.5], [-2, 0.5], [-2, -100000]]
    classes = [ENTITY_CLASSES.index(name) for name in ('low', 'static')]
    assert rules.entities == (
        EntityRule('people', (MOVING,), 100.0, 4.0, 0.5, yard, None),
        EntityRule('all', tuple(classes), 0.0, 0.0, 1.0, None, 4.0))


def test_as_much_as_is_accepted(tmp_path):
    corners = ', '.join(f'[{math.cos(0.06 * k):.6f}, {math.sin(0.06 * k):.6f}]'
                        for k in range(100))
    zones = [f'{{name: "{k:080}", polygon: [{corners if k == 0 else "[0, 0], [1, 0], [0, 1]"}], '
             'max_speed: 4}' for k in range(100)]
    rules = load(tmp_path, f'zones: [{", ".join(zones)}]')
    assert len(rules.zones) == 100 and rules.zones[0].polygon.shape == (100, 2)
    assert rules.zones[99].name == f'{99:080}' and rules.zones[99].max_speed == 4.0


@pytest.mark.parametrize('border', [
    [[1, 0], [0, 0], [2, 0]],  # straight back at its second and third corner
    [[1, 1], [2, 3], [1.5, 2], [5, 1]],  # back along the first side
    [[7, 1], [6, 3], [6.25, 2.5], [3, 1]],
    [[3, 5], [3, 9], [3, 8.75], [9, 7]],
    [[-2, -4], [-5, -4], [-4.875, -4], [-6, -9]],
    [[0, 0], [4, 0], [4, 4], [2, 0], [0, 4]],  # a corner on a side
    [[0, 0], [4, 0], [4, 4], [0, 4], [4, 0]],  # on a corner
])
def test_borders_that_touch_themselves(border):
    assert not Polygon(border).is_valid or not Polygon(border).exterior.is_simple
    for shift in range(len(border)):
        for way in (1, -1):
            turned = (border[shift:] + border[:shift])[::way]
            with pytest.raises(ConfigError, match='cross or touch'):
                _polygon('zone', turned)


@pytest.mark.parametrize('size', [0.01, 0.1, 1.0, 100.0])
@pytest.mark.parametrize('border', [
    [[0, 0], [3, 0], [3, 3], [2, 3], [2, 1], [1, 1], [1, 3], [0, 3]],  # a pocket
    [[0, 0], [2, 1], [4, 0], [2, 3]],  # an arrow head
    [[0, 0], [1, 0], [2, 0], [2, 2], [1, 1]],  # a corner in the middle of a side
])
def test_borders_that_do_not_at_any_size(border, size):
    scaled = [[size * x + 7.0, size * y - 3.0] for x, y in border]
    for shift in range(len(border)):
        turned = scaled[shift:] + scaled[:shift]
        assert _polygon('zone', turned).tolist() == turned
        assert len(_polygon('zone', turned[::-1])) == len(border)


@pytest.mark.parametrize('ends', [((1, 2), (5, 4)), ((5, 4), (1, 2)), ((1, 4), (5, 2)),
                                  ((5, 2), (1, 4))])
def test_between_is_within_the_box_of_an_edge(ends):
    for p, within in (((3, 3), True), ((1, 4), True), ((5, 2), True), ((0.9, 3), False),
                      ((5.1, 3), False), ((3, 1.9), False), ((3, 4.1), False)):
        assert _between(ends, p) == within


def test_a_fence_of_short_sides_is_its_corners():
    rules = Rules(keep_out=(Zone('a', SQUARE),))
    assert fence_points(rules, 2.0).tolist() == SQUARE.tolist()
    assert fence_points(rules, 9.0).tolist() == SQUARE.tolist()
    assert len(fence_points(rules, 1.99)) == 8


@pytest.mark.parametrize('text', ['', '# nothing\n', '{}', 'zones:\nkeep_out: []\n'])
def test_an_empty_file_is_no_rule(tmp_path, text):
    assert load(tmp_path, text) == EMPTY


ZONE = 'polygon: [[0, 0], [1, 0], [0, 1]]'
WRONG = [
    ('[1]', r'the file: \[1\].*zones, keep_out, entities'),
    ('zone: []', r"the file: unknown key 'zone'"),
    ('zones: 3', r'zones: 3.*list of at most 100'),
    ('zones: [' + '{},' * 101 + ']', 'zones:.*at most 100'),
    ('zones: [3]', r'zones\[0\]: 3.*map with name, polygon, max_speed'),
    ('zones: [{name: a}]', r'zones\[0\]: polygon is missing'),
    (f'zones: [{{name: 3, {ZONE}}}]', r'zones\[0\]\.name: 3'),
    (f'zones: [{{name: " ", {ZONE}}}]', r'zones\[0\]\.name'),
    (f'zones: [{{name: "a\\nb", {ZONE}}}]', r'zones\[0\]\.name'),
    (f'zones: [{{name: {"a" * 81}, {ZONE}}}]', r'zones\[0\]\.name'),
    (f'zones: [{{name: a, {ZONE}, max_speed: 0}}]', r'zones\[0\]\.max_speed: 0 .*\[0\.05, 4\]'),
    (f'zones: [{{name: a, {ZONE}, max_speed: .nan}}]', r'max_speed: nan'),
    (f'zones: [{{name: a, {ZONE}, max_speed: true}}]', r'max_speed: True'),
    (f'zones: [{{name: a, {ZONE}, max_speed: 1{"0" * 400}}}]', 'an integer has 64 bits'),
    (f'zones: [{{name: a, {ZONE}, max_speed: "1"}}]', r"max_speed: '1'"),
    (f'keep_out: [{{name: a, {ZONE}, max_speed: 1}}]', r"keep_out\[0\]: unknown key 'max_speed'"),
    ('keep_out: [{name: a, polygon: [[0, 0], [1, 0]]}]', r'polygon: .* 3 to 100 corners'),
    ('keep_out: [{name: a, polygon: [[0, 0], [1, 0], [1]]}]', r'polygon\[2\]: \[1\].*\[x, y\]'),
    ('keep_out: [{name: a, polygon: [[0, 0], [1, 0], [1, .inf]]}]', r'polygon\[2\]: inf'),
    ('keep_out: [{name: a, polygon: [[0, 0], [1, 1], [1, 0], [0, 1]]}]', 'cross'),
    ('keep_out: [{name: a, polygon: [[0, 0], [1, 0], [2, 0]]}]', 'touch'),
    ('keep_out: [{name: a, polygon: [[0, 0], [0, 0], [2, 1]]}]', 'touch'),
    (f'zones: [{{name: a, {ZONE}}}]\nkeep_out: [{{name: a, {ZONE}}}]', "'a' is given twice"),
    ('entities: [{name: a, class: person, within: 1, max_speed: 1}]',
     r"entities\[0\]\.class: 'person'.*static, low, overhang, moving"),
    ('entities: [{name: a, class: [], within: 1, max_speed: 1}]', 'list is empty'),
    ('entities: [{name: a, class: free, within: 1, max_speed: 1}]', "'free'"),
    ('entities: [{name: a, class: low, within: -1, max_speed: 1}]', r'within: -1 .*\[0, 100\]'),
    ('entities: [{name: a, class: low, within: 1, max_speed: 5}]', r'max_speed: 5 '),
    ('entities: [{name: a, class: low, within: 1, max_speed: 1, when_blind: x}]', "blind: 'x'"),
    ('entities: [{name: a, class: low, within: 1, max_speed: 1, zone: b}]', "'b' is not a zone"),
    ('entities: [{name: a, class: low, within: 1, max_speed: 1, min_confidence: 2}]',
     'min_confidence: 2'),
    ('zones: [\nzones', 'not readable as YAML'),
    ('zones: []\nzones: []', "line 2: key 'zones' is given twice"),
    ('zones: !!python/object/apply:os.system [ls]', 'not readable as YAML'),
    ('2001-99-99', 'not readable as YAML'),
    ('[' * 5000, 'nested deeper than 40'),
    ('? [1, 2]\n: 3', 'is not text; quote it'),
]


OPTIONS = 'name, class, within, max_speed, min_confidence, zone, when_blind'
KINDS = 'static, low, overhang, moving'
LOW = 'class: low, within: 1, max_speed: 1'
WORDS = [
    ('keep_out: 3', 'keep_out: 3 is not accepted; it takes a list of at most 100'),
    ('entities: 3', 'entities: 3 is not accepted; it takes a list of at most 100'),
    ('entities: [3]', f'entities[0]: 3 is not accepted; it takes a map with {OPTIONS}'),
    ('entities: [{nam: a}]', f"entities[0]: unknown key 'nam'; it takes {OPTIONS}"),
    ('entities: [{name: a}]', f'entities[0]: class is missing; it takes {OPTIONS}'),
    (f'entities: [{{name: 7, {LOW}}}]',
     'entities[0].name: 7 is not accepted; it takes a line of text of at most 80 letters'),
    ('entities: [{name: a, class: [], within: 1, max_speed: 1}]',
     f'entities[0].class: the list is empty; it takes {KINDS}'),
    (f'entities: [{{name: a, {LOW}, zone: b}}]',
     "entities[0].zone: 'b' is not a zone; it takes one of zones, of which there are none"),
    (f'zones: [{{name: x, {ZONE}}}, {{name: y, {ZONE}}}]\n'
     f'entities: [{{name: a, {LOW}, zone: b}}]',
     "entities[0].zone: 'b' is not a zone; it takes one of x, y"),
    (f'zones: [{{name: a, {ZONE}}}, {{name: a, {ZONE}}}]',
     "name 'a' is given twice; a name is shown as the reason of a limit and must be unique"),
    ('keep_out: [{name: a, polygon: [[0, 0], [1, 0], [2, 0]]}]',
     'keep_out[0].polygon: the edges from corner 0 and from corner 2 cross or touch; it takes a '
     'border that does not meet itself'),
]


@pytest.mark.parametrize(('text', 'says'), WORDS, ids=range(len(WORDS)))
def test_a_refusal_word_by_word(tmp_path, text, says):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert str(caught.value) == f'{tmp_path / "rules.yaml"}: {says}'


@pytest.mark.parametrize(('text', 'says'), WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_is_named_with_its_file(tmp_path, text, says):
    with pytest.raises(ConfigError, match=says) as caught:
        load(tmp_path, text)
    assert str(tmp_path / 'rules.yaml') in str(caught.value)


def test_a_file_that_is_too_large_or_not_there(tmp_path):
    with pytest.raises(ConfigError, match=f'larger than {MAX_BYTES}'):
        load(tmp_path, '#' * (MAX_BYTES + 1))
    with pytest.raises(ConfigError, match='No such file'):
        load_rules(tmp_path / 'none.yaml')
    with pytest.raises(ConfigError, match='regular'):
        load_rules(tmp_path)
    (tmp_path / 'binary').write_bytes(b'\xff\xfe\x00')
    with pytest.raises(ConfigError, match='UTF-8'):
        read_text(tmp_path / 'binary')


@settings(max_examples=200, deadline=None)
@given(st.text('zones: []{}-nampolyg.keout\n1,"&*!', max_size=80))
def test_no_text_raises_anything_else(tmp_path_factory, text):
    try:
        load(tmp_path_factory.getbasetemp(), text)
    except ConfigError:
        pass
