"""Schedule, growth and verdict of a soak on events written by hand; the figure; the command."""

import json

import pytest

from karpathy_control.evaluation import soak
from karpathy_control.evaluation.soak_figure import figure
from karpathy_control.evaluation.soak_judge import (
    NODES,
    Life,
    growth,
    levels,
    line,
    lives,
    memory_growth,
    renewed_growth,
    schedule,
    summarise,
)

MB = 1_000_000
NAMES = (*NODES, 'sim', 'observer', 'runner')


def points(values, period=2.0, start=0.0):
    return [(start + period * k, v) for k, v in enumerate(values)]


def ramp(seconds, first, last, period=2.0):
    """Straight from `first` to `last`."""
    count = round(seconds / period)
    return points([first + (last - first) * k / count for k in range(count + 1)], period)


# -- schedule -------------------------------------------------------------------------------------


def test_a_node_every_period_the_first_after_half_of_it():
    strikes = schedule(0, 300.0, 20.0)
    assert [s.at for s in strikes] == [10.0 + 20.0 * k for k in range(15)]
    assert {s.node for s in strikes} == set(NODES) and {s.how for s in strikes} == {'kill'}


def test_the_seed_decides():
    long = schedule(3, 3600.0, 20.0)
    assert long == schedule(3, 3600.0, 20.0) != schedule(4, 3600.0, 20.0)
    assert schedule(3, 600.0, 20.0) == long[:30]  # a shorter run is the beginning of a longer one


def test_ways_are_drawn_and_a_run_shorter_than_half_a_period_has_no_strike():
    assert {s.how for s in schedule(0, 600.0, 20.0, ('term', 'stop'))} == {'term', 'stop'}
    assert {s.node for s in schedule(0, 600.0, 20.0, nodes=('sensor', 'policy'))} == {
        'sensor', 'policy'}
    assert schedule(0, 10.0, 20.0) == [] and len(schedule(0, 10.1, 20.0)) == 1


# -- growth ---------------------------------------------------------------------------------------


def test_growth_is_from_the_second_minute_to_the_last():
    # 100 at 60..118 s (median 100), 104 in the last minute: 4 %; what came before does not count
    values = [50.0] * 30 + [100.0] * 60 + [104.0] * 31
    assert growth(points(values)) == pytest.approx(0.04)
    assert levels(points(values)) == (100.0, 104.0)
    # a steady climb by 10 in 300 s: medians at 90 s and 270 s: 103 and 109
    assert growth(ramp(300.0, 100.0, 110.0)) == pytest.approx(109.0 / 103.0 - 1.0, abs=0.001)


def test_a_life_too_short_to_have_two_minutes_is_not_judged():
    assert growth(ramp(178.0, 1.0, 9.0)) is None and growth(ramp(180.0, 1.0, 9.0)) is not None
    assert growth([]) is None


def test_a_gap_in_the_samples_is_not_judged():
    assert growth([(0.0, 1.0), (10.0, 1.0), (300.0, 1.0)]) is None


def short_lives(heights, every=20.0):
    """Lives that climb by 1 a second; each begins at its height."""
    return [Life(k, [(100.0 * k + t, height + t) for t in range(0, 60, 2)])
            for k, height in enumerate(heights)]


def test_lives_are_compared_at_the_same_age():
    assert renewed_growth(short_lives([100.0] * 5), 20.0) == pytest.approx(0.0)
    # heights 86, 88, 90, 92 and ages 10 to 18 s: medians 100, 102, 104, 106
    assert renewed_growth(short_lives([86.0, 88.0, 90.0, 92.0]), 20.0) == pytest.approx(0.06)


def test_few_lives_and_lives_that_end_young_are_not_judged():
    assert renewed_growth(short_lives([1.0] * 3), 20.0) is None
    babies = [Life(k, [(30.0 * k, 1.0), (30.0 * k + 5.0, 1.0)]) for k in range(9)]
    assert renewed_growth(babies, 20.0) is None


def test_which_growth_is_judged_depends_on_whether_it_was_struck():
    steady = Life(1, ramp(300.0, 100.0, 100.0))
    assert memory_growth([steady], 20.0) == {'whole': pytest.approx(0.0)}
    longest = Life(2, ramp(400.0, 100.0, 200.0))
    found = memory_growth([Life(3, ramp(20.0, 1.0, 1.0)), longest, Life(4, ramp(9.0, 1.0, 1.0))],
                          20.0)
    assert found['renewed'] is None and found['longest'] == growth(longest.memory) > 0.5


def test_a_new_process_id_begins_a_new_life():
    rows = [{'t': t, 'pids': {'sim': 1, **({'policy': pid} if pid else {})},
             'memory': {'sim': 5, 'policy': t}, 'files': {'sim': 7, 'policy': 8}}
            for t, pid in ((0.0, 10), (2.0, 10), (4.0, None), (6.0, 11))]
    found = lives(rows)
    assert [(life.pid, life.memory) for life in found['policy']] == [
        (10, [(0.0, 0.0), (2.0, 2.0)]), (11, [(6.0, 6.0)])]
    assert len(found['sim']) == 1 and found['sim'][0].files[-1] == (6.0, 7)
    assert found['policy'][0].seconds == 2.0


# -- verdict --------------------------------------------------------------------------------------


def run(seconds=300, **change):
    """Events of a run of 300 s in which policy was killed twice and all was well."""
    strikes = [{'event': 'strike', 't': t, 'node': 'policy', 'how': how, 'answer': 'stop',
                'stop_s': 0.2, 'late': False, 'recovery_s': 4.0, 'contacts': 0, 'x': 0.0, 'y': 0.0,
                'reasons': ['policy_silent']} for t, how in ((50.0, 'kill'), (90.0, 'term'))]
    samples = [{'event': 'sample', 't': float(t), 'shared': 50 * MB, 'mode': 'autonomous',
                'reasons': [], 'x': 0.0, 'y': 0.0,
                'pids': {n: 7 + (n == 'policy') * (1 + (t > 50) + (t > 90)) for n in NAMES},
                'memory': dict.fromkeys(NAMES, 100 * MB), 'files': dict.fromkeys(NAMES, 12)}
               for t in range(0, seconds + 1, 2)]
    events = [{'event': 'run', 'seconds': seconds, 'every': 20.0, 'seed': 0, 'world': 'mixed',
               'ways': ['kill', 'term']}, *samples[:45], *strikes, *samples[45:],
              {'event': 'end', 't': float(seconds), 'error': '', 'goals': 9, 'contacts': 0,
               'restarts': {**dict.fromkeys(NODES, 0), 'policy': 2}, 'left': 0, 'orphans': []}]
    for key, value in change.items():
        kind, _, name = key.partition('_')
        for event in events:
            if event['event'] == kind:
                event[name] = value(event) if callable(value) else value
    return events


def test_a_run_in_which_all_is_well_passes():
    result = summarise(run())
    assert result['passed'] and result['failed'] == []
    assert (result['kills'], result['recovered'], result['minutes']) == (2, 2, 5.0)
    assert result['kills_by_node'] == {'policy': 2}
    assert result['recovery_s'] == {'p50': 4.0, 'p99': 4.0, 'max': 4.0}
    assert result['memory_growth']['sim'] == {'whole': 0.0}
    assert result['memory_growth']['policy'] == {'renewed': None, 'longest': 0.0}
    assert result['files_growth'] == dict.fromkeys([n for n in NAMES if n != 'policy'], 0)
    assert result['shared_growth'] == 0.0 and result['memory_mb']['sim'] == 100.0


def climbing(name):
    def changed(event):
        base = event[name]
        if isinstance(base, dict):
            return {**base, 'sim': base['sim'] * (1.1 if event['t'] > 200 else 1.0)}
        return base * (1.1 if event['t'] > 200 else 1.0)
    return changed


@pytest.mark.parametrize(('change', 'failed'), [
    ({'end_error': 'sim ended'}, 'error'),
    ({'strike_recovery_s': None}, 'recovered'),
    ({'strike_answer': 'none'}, 'answered'),
    ({'end_contacts': 1}, 'contacts'),
    ({'end_restarts': {**dict.fromkeys(NODES, 0), 'policy': 3}}, 'restarts'),
    ({'end_restarts': {**dict.fromkeys(NODES, 0), 'policy': 2, 'sensor': 1}}, 'restarts'),
    ({'sample_memory': climbing('memory')}, 'memory_growth'),
    ({'sample_shared': climbing('shared')}, 'shared_growth'),
    ({'sample_files': climbing('files')}, 'files_growth'),
    ({'end_left': 1}, 'shm_left_bytes'),
    ({'end_orphans': ['python']}, 'orphans'),
])
def test_each_criterion_fails_alone(change, failed):
    result = summarise(run(**change))
    assert result['failed'] == [failed] and not result['passed']


def test_no_strike_is_no_soak():
    events = [e for e in run(end_restarts=dict.fromkeys(NODES, 0)) if e['event'] != 'strike']
    assert summarise(events)['failed'] == ['strikes']


def test_growth_just_below_the_limit_passes():
    def changed(event):
        return {n: v * (1.049 if event['t'] > 200 else 1.0) for n, v in event['memory'].items()}
    assert summarise(run(sample_memory=changed))['passed']


def test_a_run_that_ended_before_its_first_sample_has_figures_too():
    events = [e for e in run() if e['event'] in ('run', 'end')]
    result = summarise(events)
    assert result['memory_growth'] == {} and result['recovery_s'] == {} and not result['passed']
    assert figure(events).startswith(b'\x89PNG')


# -- what is shown, and the command ---------------------------------------------------------------


def test_a_line_for_each_strike():
    strike = next(e for e in run() if e['event'] == 'strike')
    assert line(strike) == ('   50.0 s  kill policy     stop      after   0.20 s  driving after   '
                            '4.00 s  contacts 0  policy_silent')
    assert 'driving after    -   s' in line({**strike, 'recovery_s': None})


def test_the_figure_of_an_hour_is_small():
    picture = figure(run(3600))
    assert picture.startswith(b'\x89PNG') and len(picture) < 100_000


def test_the_journal_gives_back_what_was_written(tmp_path):
    journal = soak.Journal(tmp_path / 'soak.jsonl')
    for event in run(20):
        journal.write(**event)
    assert journal.events() == json.loads(json.dumps(run(20)))


@pytest.mark.parametrize(('words', 'text'), [
    (['--every', '5'], '--every at least 10'), (['--minutes', '0'], '--minutes takes more than 0'),
    (['--how', 'kill,hang'], 'it takes one or more of kill,term,stop')])
def test_wrong_arguments_are_refused_with_what_is_taken(words, text, capsys):
    with pytest.raises(SystemExit) as refused:
        soak.main(words)
    assert refused.value.code == 2 and text in capsys.readouterr().err
