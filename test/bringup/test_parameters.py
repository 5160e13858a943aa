"""The generated parameter file, and what a user's file means for each node."""

import pytest
import yaml

from karpathy_control.bringup.parameters import (
    checked,
    markdown,
    node_yaml,
    read_parameters,
    yaml_template,
)
from karpathy_control.bringup.resources import share
from karpathy_control.contracts.config import (
    NODE_CONFIGS,
    ConfigError,
    is_of_profile,
    specs,
)


def write(folder, text):
    path = folder / 'params.yaml'
    path.write_text(text)
    return path


def test_shipped_file_is_the_one_the_code_makes():
    shipped = (share() / 'config' / 'params.yaml').read_text()
    assert shipped == yaml_template(), 'karpathy-control params --yaml > config/params.yaml'


def test_template_holds_every_default():
    data = yaml.safe_load(yaml_template())
    assert set(data) == set(NODE_CONFIGS)
    for node, kind in NODE_CONFIGS.items():
        expected = {s.name: s.default for s in specs(kind)
                    if not is_of_profile(node, s.name)}
        assert data[node]['ros__parameters'] == expected


def test_template_lines_can_be_uncommented():
    text = yaml_template().replace('# /**:', '/**:').replace(
        '#   ros__parameters:', '  ros__parameters:').replace(
        '#     robot.height:', '    robot.height:')
    assert yaml.safe_load(text)['/**'] == {'ros__parameters': {'robot.height': 0.5}}


def test_template_fits_the_page():
    assert max(map(len, yaml_template().splitlines())) <= 99


def test_markdown_names_every_parameter():
    text = markdown()
    for node, kind in NODE_CONFIGS.items():
        assert f'### `{node}`' in text
        assert all(f'`{spec.name}`' in text for spec in specs(kind))


@pytest.mark.parametrize('section', ['policy', '/policy', '/**/policy', '/r1/policy', 'r1/policy'])
def test_spellings_of_a_node_all_reach_it_in_a_namespace(tmp_path, section):
    path = write(tmp_path, f'{section}: {{ros__parameters: {{memory: {{cell: 0.05}}}}}}')
    values = read_parameters(path, '/r1')
    assert values['policy'] == {'memory.cell': 0.05}
    assert values['sensor'] == {}


def test_exact_section_wins_over_the_shared_one_in_any_order(tmp_path):
    path = write(tmp_path, 'control: {ros__parameters: {robot.max_speed: 0.4}}\n'
                           '/**: {ros__parameters: {robot: {max_speed: 0.8, height: 0.6}}}')
    values = read_parameters(path)
    assert values['control'] == {'robot.max_speed': 0.4, 'robot.height': 0.6}
    assert values['sensor'] == {'robot.max_speed': 0.8, 'robot.height': 0.6}


@pytest.mark.parametrize(('text', 'said'), [
    ('polcy: {ros__parameters: {}}', "'polcy' means no node"),
    ('/r2/policy: {ros__parameters: {}}', 'means no node'),
    ('policy: {reflex: false}', 'takes one key, ros__parameters'),
    ('- 1', 'takes a map'),
    ('{', 'not readable'),
    ('policy: {ros__parameters: [1]}', 'a map below it'),
    ('policy: {ros__parameters: 1, other: 2}', 'takes one key'),
    ('policy: &a {ros__parameters: {}}\nsensor: *a', 'alias'),
    ('policy: {ros__parameters: {a: 1, a: 2}}', 'twice'),
    ('policy: {ros__parameters: {1: 2}}', 'not text'),
    ('policy: !!python/object:object {}', 'not readable'),
    ('policy: {ros__parameters: ' + '{a: ' * 50 + '1' + '}' * 51, 'nested'),
])
def test_wrong_file_is_refused(tmp_path, text, said):
    with pytest.raises(ConfigError, match=said):
        read_parameters(write(tmp_path, text))


def test_checked_gives_declared_types_and_names_the_node():
    assert checked('policy', {'memory.cell': 0.2, 'goal_tolerance': 1, 'use_sim_time': True}) == {
        'memory.cell': 0.2, 'goal_tolerance': 1.0, 'use_sim_time': True}
    with pytest.raises(ConfigError, match=r'policy: memory.cell: 9.0 is out of range'):
        checked('policy', {'memory.cell': 9.0})


def test_node_yaml_round_trip():
    values = {'a.b': 1e-05, 'c': [0.1, -2.0], 'd': '', 'e': True, 'f': '0', 'g': 3}
    assert yaml.safe_load(node_yaml({'/r1/sensor': values})) == {
        '/r1/sensor': {'ros__parameters': values}}


@pytest.mark.parametrize('number', ['.inf', '-.inf', '.nan', '1.0e+999', '1e999', '"1"'])
def test_number_that_is_none_is_refused_by_name(tmp_path, number):
    path = write(tmp_path, f'policy: {{ros__parameters: {{goal_tolerance: {number}}}}}')
    with pytest.raises(ConfigError, match='policy: goal_tolerance'):
        checked('policy', read_parameters(path)['policy'])
