"""The table of faults and how a row is judged, on records written by hand."""

import pytest

from karpathy_control.contracts.config import ConfigError
from karpathy_control.contracts.modes import Reason
from karpathy_control.evaluation.fault_table import (
    BY_NAME,
    FROZEN_LIMIT,
    ROWS,
    SHORT,
    STOP_LIMIT,
    Row,
    first_braking,
    judge,
    markdown,
)
from karpathy_control.evaluation.faults import prepare, select

SECOND = 1_000_000_000
ROW = Row('scan_silent', 'sensor', ('scan',), ('lidar_lost',), 'silent')


def record(commands=(), states=(), wheels=()):
    """Times in s."""
    def stamped(entries):
        return [[round(entry[0] * SECOND), *entry[1:]] for entry in entries]
    return {'commands': stamped(commands), 'states': stamped(states), 'wheels': stamped(wheels)}


def judged(row, **entries):
    return judge(row, 10 * SECOND, 12 * SECOND, record(**entries))


def test_names_are_unique_and_reasons_are_of_the_vocabulary():
    assert len(BY_NAME) == len(ROWS) and set(SHORT) <= set(BY_NAME)
    known = {reason.value for reason in Reason}
    for row in ROWS:
        assert set(row.answers) <= known, row.name


def test_only_what_may_repeat_itself_has_longer_until_it_is_found_frozen():
    longer = {row.name for row in ROWS if row.limit != STOP_LIMIT}
    assert longer == {f'{view}_{how}' for view in ('scan', 'camera', 'image', 'depth')
                      for how in ('frozen', 'stuck')}
    assert {BY_NAME[name].limit for name in longer} == {FROZEN_LIMIT}


def test_a_stop_is_timed_by_the_first_zero_command_after_the_fault():
    result = judged(ROW, commands=[(9.9, 0.0, 0.0), (10.1, 0.5, 0.0), (10.2, 0.0, 0.1),
                                   (10.25, 0.0, 0.0), (10.3, 0.0, 0.0)],
                    states=[(9.9, 'autonomous', 'gate_limited'), (10.28, 'stopped', 'lidar_lost')])
    assert result == {'fault': 'scan_silent', 'stop_s': 0.25, 'answer': 'stop', 'mode': 'stopped',
                      'reasons': ['lidar_lost'], 'answered': True}


def test_a_named_mode_is_an_answer_and_may_be_published_one_period_later():
    states = [(9.9, 'autonomous', ''), (10.34, 'camera_only', 'lidar_lost gate_limited')]
    result = judged(ROW, commands=[(10.5, 0.2, 0.0)], states=states)
    assert (result['answer'], result['stop_s'], result['answered']) == ('degraded', 0.34, True)
    late = judged(ROW, states=[(9.9, 'autonomous', ''), (10.36, 'camera_only', 'lidar_lost')])
    assert not late['answered']


@pytest.mark.parametrize('states', [
    [(9.9, 'autonomous', ''), (10.1, 'autonomous', '')],  # nothing is said
    [(9.9, 'autonomous', ''), (10.1, 'stopped', 'odom_lost')],  # another reason
    [(9.9, 'camera_only', 'lidar_lost'), (10.1, 'camera_only', 'lidar_lost')],  # it was so before
    [(9.9, 'autonomous', ''), (12.1, 'camera_only', 'lidar_lost')],  # after the fault
])
def test_what_is_no_answer(states):
    assert not judged(ROW, commands=[(10.1, 0.0, 0.0)], states=states)['answered']


def test_what_loses_no_data_may_be_tolerated_and_answered_at_any_time():
    row = BY_NAME['scan_duplicated']
    going = [(9.9, 'autonomous', ''), (10.5, 'autonomous', '')]
    assert judged(row, commands=[(10.1, 0.5, 0.0)], states=going) == {
        'fault': 'scan_duplicated', 'stop_s': None, 'answer': 'tolerated', 'mode': 'autonomous',
        'reasons': [], 'answered': True}
    late = [(9.9, 'autonomous', ''), (10.9, 'camera_only', 'lidar_lost')]
    assert judged(row, states=late)['answered']
    other = [(9.9, 'autonomous', ''), (10.9, 'stopped', 'odom_lost')]  # not what was broken
    result = judged(row, commands=[(10.95, 0.0, 0.0)], states=other)
    assert result['answer'] == 'stop' and result['answered']


def test_the_base_brakes_for_good():
    wheels = [(10.0, 8.0), (10.1, 10.0), (10.2, 8.8), (10.3, 9.9), (10.4, 8.8), (10.5, 4.0),
              (10.6, 0.1)]
    found = record(wheels=wheels)['wheels']
    # 8.8 at 10.2 was no braking: it came back; 0.92 * 10 - 0.3 = 8.9
    assert first_braking(found, 10 * SECOND, 12 * SECOND) == round(10.4 * SECOND)
    assert first_braking(found, 10 * SECOND, round(10.5 * SECOND)) is None
    assert first_braking(record(wheels=[(10.0, 0.0)])['wheels'], 0, 12 * SECOND) == 10 * SECOND
    result = judged(BY_NAME['control_kill'], wheels=[(10.0, 9.0), (10.26, 7.0), (10.5, 0.0)])
    assert (result['answer'], result['stop_s'], result['answered']) == ('base', 0.26, True)


def test_the_table_for_people():
    result = {'fault': 'x', 'stop_s': 0.21, 'answer': 'stop', 'mode': 'stopped',
              'reasons': ['odom_lost'], 'recover_s': None, 'contact': 0, 'passed': False}
    assert markdown([result]).splitlines()[-1] == (
        '| `x` | stop | 0.21 | `stopped` | `odom_lost` | - | 0 | **fails** |')


def test_rows_are_selected_by_the_beginning_of_their_names():
    assert select('') == list(ROWS)
    assert [r.name for r in select('control_,odom_bias')] == [
        'control_stop', 'control_kill', 'control_slow', 'odom_bias']
    assert [r.name for r in select('short')] == list(SHORT)
    with pytest.raises(ConfigError, match="no fault 'moon'; it takes short, or names of scan_"):
        select('moon')


def test_weights_that_will_be_harmed_are_copies(tmp_path):
    changes = prepare(tmp_path, select('perception_weights,log_disk'))
    assert changes['perception']['weights'] == str(tmp_path / 'weights' / 'encoder.safetensors')
    assert {path.name for path in (tmp_path / 'weights').iterdir()} == {
        'encoder.safetensors', 'encoder.json', 'encoder.ood.safetensors'}
    assert changes['control'] == {'audit.folder': str(tmp_path / 'audit')}
