"""The evaluation command: pairing, causes of failure, errors and the JSON line."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from karpathy_control.contracts.config import (
    ConfigError,
    ControlConfig,
    PolicyConfig,
    RobotConfig,
)
from karpathy_control.contracts.types import Pose2
from karpathy_control.contracts.world import Box, Mover, Person, World
from karpathy_control.evaluation import evaluate, mujoco_suite, suites
from karpathy_control.evaluation.batched import run
from karpathy_control.evaluation.policies import guidance, load_policy
from karpathy_control.evaluation.suites import (
    Episode,
    Protocol,
    Result,
    Suite,
    as_driven,
    make_suite,
    paired,
    select,
)
from karpathy_control.policy.deliberation import Deliberation, Features
from karpathy_control.policy.situation import Situation
from karpathy_control.worlds.files import read_worlds, write_worlds

ROBOT = RobotConfig()
WALLS = (Box(0.0, 2.0, 3.0, 0.1), Box(0.0, -2.0, 3.0, 0.1), Box(3.0, 0.0, 0.1, 2.0),
         Box(-3.0, 0.0, 0.1, 2.0))
WORLD = World('test', 30_000, (-3.0, -2.0, 3.0, 2.0), Pose2(-1.0, 0.0, 0.0), ((1.0, 0.0),),
              boxes=WALLS)


def stay(s):
    return np.zeros_like(s.features.base_command)


def stand(scan, velocity, goal):
    """A policy as `--policy module:function` takes it."""
    return 0.0, 0.0


USUAL = Protocol()


def drive(policy, episodes, protocol=USUAL, **options):
    return run(Suite('test', [WORLD], episodes, protocol), policy, ControlConfig(),
               PolicyConfig(), **options)


def test_every_episode_ends_once_and_is_reproducible():
    # three episodes on batch 3 and then one at a time give the same results
    plan = [Episode(0, 0, seed) for seed in (5, 6, 7)]
    together = drive(guidance, plan)
    assert [r.outcome for r in together] == ['success'] * 3
    assert drive(guidance, plan) == together


def test_standing_still_is_a_timeout():
    result, = drive(stay, [Episode(0, 0, 1)], Protocol(episode_time=1.0))
    assert replace(result, track=()) == Result('timeout', pytest.approx(1.0))


def test_ungated_ramming_is_a_contact():
    def back(s):
        return np.full_like(s.features.base_command, (-0.3, 0.0))

    ram = drive(back, [Episode(0, 0, 1)], ablate=['gate'])
    assert ram[0].outcome == 'contact'
    assert ram[0].moving


def test_summary_counts():
    found = suites.summarise([Result('success', 4.0), Result('success', 6.0),
                               Result('contact', 1.0, True), Result('timeout', 60.0)])
    assert found['success'] == 0.5
    assert found['time_s'] == 5.0
    assert (found['contacts'], found['contacts_while_moving'], found['timeouts']) == (1, 1, 1)


def test_how_near_the_robot_came_to_people_is_told():
    # stands at x = -1 with its nose at -0.771; someone walks to and fro between 0.5 and 1.5 m: the
    # surface is at 0.5 - 0.2 at the start, and nowhere nearer
    walker = Person(((0.5, 0.0), (1.5, 0.0)), 1.0, 0.2, attentive=False)
    suite = Suite('test', [replace(WORLD, people=(walker,))], [Episode(0, 0, 1)],
                  Protocol(episode_time=1.0))
    found = run(suite, stay, ControlConfig(), PolicyConfig())
    assert found[0].person == pytest.approx(0.3 + 0.771, abs=1e-6)
    assert suites.report(suite, found)['person_distance_m']['p50'] == 1.071
    told = suites.from_people([replace(found[0], person=p) for p in (0.4, 0.6, 0.5, -0.01)])
    # of 0, 0.4, 0.5, 0.6 m two are within 0.45 m; 5 % of the way is 0.15 of the first step
    assert told['person_distance_m'] == {'p50': 0.45, 'p5': 0.06} and told['intimate'] == 0.5
    nobody = drive(stay, [Episode(0, 0, 1)], Protocol(episode_time=1.0))
    assert nobody[0].person is None and suites.from_people(nobody) == {}


def test_fast_things_and_people_are_suites_of_their_own():
    eight = ['mixed', 'cylinders', 'corridor', 'rooms', 'open', 'low', 'moving', 'field']
    assert [w.family for w in make_suite('generated', 80, 0).worlds] == 2 * eight
    assert all(w.family == 'swarm' for w in make_suite('swarm', 6, 0).worlds)
    assert make_suite('swarm', 1, 0).protocol == replace(suites.BARN, scored=False)
    assert make_suite('people', 1, 0).protocol == USUAL


def test_worlds_are_unseen():
    for world in make_suite('open', 11, 0).worlds:
        assert suites.FIRST_SEED <= world.seed < suites.LAST_SEED


def test_where_a_protocol_says_so_the_truth_within_reach_is_arrival():
    # from x = -1 to within 1 m of the goal at x = 1: one metre; the clock starts 0.1 m on
    far, = drive(guidance, [Episode(0, 0, 5)], Protocol(reach=1.0, scored=True))
    near, = drive(guidance, [Episode(0, 0, 5)], Protocol(reach=1.0))
    assert far.outcome == near.outcome == 'success'
    assert far.time + far.waited == near.time
    assert 0.1 < far.waited < 0.7  # 0.1 m at 2 m/s^2 take 0.32 s, the delay at most 0.1 s
    result, = drive(stay, [Episode(0, 0, 5)], Protocol(episode_time=2.0, scored=True))
    assert replace(result, track=()) == Result('timeout', 0.0, False, pytest.approx(2.0))


@pytest.mark.parametrize('ablated', ['map', 'memory'])
def test_without_a_map_the_cost_to_go_knows_of_no_wall(ablated):
    # a wall across the way at x = 0 with a passage at its end; from behind it the goal is 2 m
    # off as the crow flies (2.4 m where unknown space costs a fifth more), and 3.6 m and more
    # round the end at y = 1.5: 2 sqrt(1 + 1.5^2)
    wall = replace(WORLD, boxes=(*WALLS, Box(0.0, -0.25, 0.1, 1.65)))
    found = []

    def look(s):
        found.append(s.cost_to_go(np.zeros((1, 2)), 0)[0])
        return np.zeros((1, 2))

    for left_out in ([], [ablated]):
        run(Suite('test', [wall], [Episode(0, 0, 1)], Protocol(episode_time=0.5)), look,
            ControlConfig(), PolicyConfig(), ablate=left_out)
    whole, part = found[9], found[-1]
    assert whole > 3.6
    # the wall stands in the present scan, so memory alone changes nothing here
    assert (part > 3.6) if ablated == 'memory' else (part < 2.5)


def test_episodes_are_spread_over_the_worlds_of_a_file(tmp_path):
    worlds = [replace(WORLD, seed=k) for k in range(3)]
    write_worlds(tmp_path / 'w.json', worlds)
    suite = make_suite('file', 6, 0, tmp_path / 'w.json')
    assert [suite.worlds[e.world].seed for e in suite.episodes] == [0, 1, 2, 0, 1, 2]
    assert len({e.seed for e in suite.episodes}) == 6
    assert make_suite('file', 6, 0, tmp_path / 'w.json') == suite
    assert make_suite('file', 6, 1, tmp_path / 'w.json') != suite


@pytest.mark.parametrize(('name', 'moments'), [('dynabarn', 6), ('file', 1)])
def test_dynabarn_begins_at_any_moment_and_other_worlds_as_they_are(tmp_path, name, moments):
    mover = Mover.patrol(((0.0, 1.0), (0.0, -1.0)), 0.5, 0.2, along=0.5)
    write_worlds(tmp_path / 'w.json', [replace(WORLD, seed=k, movers=(mover,)) for k in range(3)])
    suite = make_suite(name, 6, 0, tmp_path / 'w.json')
    phases = {suite.worlds[e.world].movers[0].phase for e in suite.episodes}
    assert len(phases) == moments
    assert name == 'dynabarn' or phases == {1.0}  # 0.5 m at 0.5 m/s


def test_a_leg_becomes_a_world_of_its_own():
    two = replace(WORLD, goals=((1.0, 0.0), (1.0, 1.0)))
    suite = Suite('test', [WORLD, two], [Episode(1, 1, 7)], USUAL)
    world = as_driven(suite, suite.episodes[0])
    assert world.goals == ((1.0, 1.0),)
    assert (world.start.x, world.start.y) == (1.0, 0.0)  # from the goal before
    assert world.boxes == two.boxes
    again = as_driven(Suite('again', [world], [Episode(0, 0, 99)], USUAL), Episode(0, 0, 99))
    assert again == world


def test_every_fifth_world_is_locked():
    worlds = [replace(WORLD, seed=k) for k in range(12)]
    assert [w.seed for w in select(worlds, 'locked')] == [0, 5, 10]
    assert [w.seed for w in select(worlds, 'tune')] == [1, 2, 3, 4, 6, 7, 8, 9, 11]
    assert select(worlds, 'all') == worlds
    with pytest.raises(ConfigError, match="'tune' of 1 worlds is empty"):
        select(worlds[:1], 'tune')


@pytest.mark.parametrize(('outcome', 'time', 'expected'), [
    # a way of 12 m: 6 s at 2 m/s; full marks up to 12 s, then 6 / AT, at least 6 / 48
    ('success', 5.0, 0.5), ('success', 12.0, 0.5), ('success', 24.0, 0.25),
    ('success', 90.0, 0.125), ('contact', 5.0, 0.0), ('timeout', 100.0, 0.0)])
def test_the_score_of_barn(outcome, time, expected):
    world = replace(WORLD, path_length=12.0)
    assert suites.score(Result(outcome, time), world) == pytest.approx(expected)
    with pytest.raises(ConfigError, match='no path length'):
        suites.score(Result(outcome, time), WORLD)


@pytest.mark.parametrize(('arguments', 'message'), [
    (('mars', 1, 0), "unknown suite 'mars'; known: generated"),
    (('open', 0, 0), 'episodes is 0'),
    (('open', 1, 0, Path('x.json')), 'generates its worlds'),
    (('barn', 1, 0), "suite 'barn' takes --worlds"),
    (('barn', 1, 0, Path('nowhere.json')), r'nowhere\.json'),
])
def test_a_suite_that_cannot_be_is_refused_by_name(arguments, message):
    with pytest.raises(ConfigError, match=message):
        make_suite(*arguments)


def call(scan, velocity, goal):
    assert (scan.shape, velocity.shape, goal.shape) == ((360,), (2,), (2,))
    return 0.3, goal[1]


def bad(scan, velocity, goal):
    return np.nan, 0.0


def situation(goals):
    n = len(goals)
    return Situation(
        Features(np.zeros((n, 1, 1)), np.zeros((n, 2)), np.zeros(n, bool)),
        np.full((n, 360), np.inf, np.float32),
        np.array(goals), np.zeros((n, 3)), np.zeros((n, 2)), np.zeros((n, 3, 2)),
        np.zeros((n, 0, 6)), np.zeros(n, bool), Deliberation(PolicyConfig(), n))


def test_a_function_from_outside_is_a_policy():
    policy = load_policy(f'{__name__}:call', ROBOT)
    np.testing.assert_allclose(policy(situation([(1.0, 0.5), (1.0, -0.5)])),
                               [(0.3, 0.5), (0.3, -0.5)])
    with pytest.raises(ConfigError, match=r'gave array\(\[nan,  0.\]\); it takes \(v, w\)'):
        load_policy(f'{__name__}:bad', ROBOT)(situation([(1.0, 0.0)]))
    for name in (f'{__name__}:nothing', 'no_such_module:f', f'{__name__}:WORLD'):
        with pytest.raises(ConfigError, match='--policy'):
            load_policy(name, ROBOT)


def test_straight_turns_to_the_goal_and_drives_where_it_lies_ahead():
    found = load_policy('straight', ROBOT)(situation([(5.0, 0.0), (0.0, 5.0), (-5.0, 0.1)]))
    assert found[0] == pytest.approx((ROBOT.max_speed, 0.0))
    assert found[1] == pytest.approx((0.0, ROBOT.max_turn))
    assert found[2] == pytest.approx((0.0, ROBOT.max_turn))


@pytest.mark.parametrize('name', ['dynamic_window', 'mppi'])
def test_a_baseline_arrives(name):
    if name == 'mppi':
        pytest.importorskip('pytorch_mppi')
    found, = drive(load_policy(name, ROBOT), [Episode(0, 0, 5)])
    assert found.outcome == 'success'


def test_command_prints_one_json_object_last(capsys):
    assert evaluate.main(['--suite', 'open', '--policy', 'guidance', '--episodes', '2',
                          '--against', 'guidance,straight']) == 0
    found = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert {'suite', 'policy', 'worlds', 'episodes', 'success', 'success_ci95', 'contacts',
            'timeouts', 'time_s', 'score', 'seconds', 'failures', 'against'} <= set(found)
    assert found['episodes'] == found['against']['straight']['episodes'] == 2


def test_pairs_are_compared_world_by_world():
    other = replace(WORLD, seed=30_001)
    suite = Suite('test', [WORLD, other, WORLD],
                  [Episode(0, 0, 1), Episode(1, 0, 2), Episode(2, 0, 3)], USUAL)
    ours = [Result('success', 6.0), Result('success', 5.0), Result('success', 3.0)]
    theirs = [Result('success', 12.0), Result('contact', 1.0), Result('timeout', 60.0)]
    found = paired(suite, ours, theirs)
    # world 30000: (0 + 1) / 2, world 30001: 1; only in the first have both arrived: 6 / 12
    assert (found['success_more'], found['time_ratio']) == (0.75, 0.5)
    assert found['success_more_ci95'] == [0.5, 1.0] and found['time_ratio_ci95'] == [0.5, 0.5]
    never = paired(suite, theirs, [Result('contact', 1.0)] * 3)
    assert never['time_ratio'] is None and never['time_ratio_ci95'] is None


def test_what_episodes_draw_can_be_said(capsys):
    arguments = ['--suite', 'open', '--policy', 'guidance', '--against', '', '--episodes', '2']
    times = []
    for vary in (['slip=0', 'delay=0.02'], ['slip=0.4', 'delay=0.02:0.3']):
        assert evaluate.main(arguments + [part for v in vary for part in ('--vary', v)]) == 0
        found = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
        times.append(found['time_s'])
    assert found['varied'] == {'slip': [0.4, 0.4], 'delay': [0.02, 0.3]}
    assert times[1] > 1.3 * times[0]  # 1 / 0.6 of it, but for what is spent on turning
    assert evaluate.main([*arguments, '--vary', 'luck=1']) == 2
    assert "unknown variation 'luck'; known: delay" in capsys.readouterr().err
    for wrong, said in ((['--vary', 'slip'], "'slip' is not accepted; it takes NAME=LOW:HIGH"),
                        (['--vary', 'slip=0', '--world', 'mujoco'], 'only --world batched')):
        with pytest.raises(SystemExit):
            evaluate.main([*arguments, *wrong])
        assert said in capsys.readouterr().err


def test_command_names_what_is_wrong(capsys):
    assert evaluate.main(['--policy', 'nowhere.safetensors', '--episodes', '1']) == 2
    assert 'nowhere.safetensors' in capsys.readouterr().err
    assert evaluate.main(['--episodes', '0', '--policy', 'guidance']) == 2
    assert 'episodes is 0' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        evaluate.main(['--ablate', 'luck'])
    assert "--ablate 'luck': it takes reflex, gate, camera" in capsys.readouterr().err


def test_failures_become_worlds_to_look_at_again(tmp_path, capsys):
    write_worlds(tmp_path / 'w.json', [replace(WORLD, goals=((2.95, 0.0),))])  # in the wall
    arguments = ['--suite', 'file', '--policy', 'straight', '--against', '', '--episodes', '1']
    assert evaluate.main([*arguments, '--worlds', str(tmp_path / 'w.json'), '--failures',
                          str(tmp_path / 'f.json')]) == 0
    found = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert found['failures'] == [{'world': 'test', 'seed': 30_000, 'leg': 0, 'cause': 'timeout'}]
    assert read_worlds(tmp_path / 'f.json') == read_worlds(tmp_path / 'w.json')


def test_the_track_is_that_of_the_episode():
    """From the start to within the goal's tolerance, a place every 0.2 s and one at the end."""
    result, = drive(guidance, [Episode(0, 0, 5)])
    track = np.array(result.track)
    assert len(track) == 2 + int(result.time / 0.2 - 1e-6)
    assert track[0] == pytest.approx([-1.0, 0.0]) and np.hypot(*(track[-1] - (1, 0))) < 0.5
    near = replace(WORLD, start=Pose2(-0.2, 0.0, 0.0))  # it ends while the other one drives on
    both = run(Suite('test', [WORLD, near], [Episode(0, 0, 5), Episode(1, 0, 5)], USUAL), guidance,
               ControlConfig(), PolicyConfig())
    assert both[1].time < both[0].time - 0.5
    assert [len(r.track) for r in both] == [2 + int(r.time / 0.2 - 1e-6) for r in both]
    steps = np.linalg.norm(np.diff(track, axis=0), axis=1)
    assert steps.max() <= 0.2 * ROBOT.max_speed * 1.05


def test_a_report_shows_figures_and_every_failure(tmp_path, capsys):
    write_worlds(tmp_path / 'worlds.json', [WORLD])
    page = tmp_path / 'new' / 'report.html'
    arguments = ['--suite', 'file', '--worlds', str(tmp_path / 'worlds.json'), '--policy',
                 f'{__name__}:stand', '--episodes', '2', '--report', str(page)]
    assert evaluate.main(arguments) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told['success'] == 0.0 and told['timeouts'] == 2
    text = page.read_text()
    assert 'Again: <code>karpathy-control evaluate --suite file' in text
    assert text.count('timeout after 60.0 s</figcaption>') == 2
    assert f'Failures: {__name__}:stand' in text and '>0 of 2<' in text
    # two failures, and no success of its own to show; guidance arrives twice
    assert text.count('<img src="data:image/png;base64,') == 2
    assert '<td>guidance</td><td>1</td>' in text


def test_mujoco_suite_drives_the_same_legs_through_the_code_of_the_nodes(capsys):
    arguments = ['--suite', 'open', '--world', 'mujoco', '--policy', 'guidance', '--episodes', '1']
    found = []
    for extra in ([], [], ['--set', 'max_speed=0.4']):
        assert evaluate.main([*arguments, *extra]) == 0
        found.append(json.loads(capsys.readouterr().out.strip().splitlines()[-1]))
        assert found[-1]['success'] == 1.0 and found[-1]['world'] == 'mujoco'
    # simulated time: the same on every run, and longer at a third of the speed
    assert found[0]['time_s'] == found[1]['time_s'] < found[2]['time_s'] / 1.5


def test_a_sensor_of_the_simulator_can_be_another_or_missing(capsys):
    arguments = ['--suite', 'open', '--world', 'mujoco', '--policy', 'guidance', '--against', '',
                 '--episodes', '1']
    for extra, arrives in (['lidar.beams=90', 'camera.depth=false'], 1.0), (
            ['odometry.enabled=false'], 0.0):
        assert evaluate.main(arguments + [part for v in extra for part in ('--sim', v)]) == 0
        found = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
        assert found['success'] == arrives and found['sim'] == extra and not found['contacts']
    with pytest.raises(SystemExit):
        evaluate.main(['--sim', 'lidar.beams=90'])
    assert 'only --world mujoco has them' in capsys.readouterr().err


def test_any_number_of_workers_finds_the_same(capsys):
    arguments = ['--suite', 'generated', '--world', 'mujoco', '--policy', 'straight',
                 '--against', '', '--episodes', '3', '--seed', '4']
    found = []
    for workers in ('1', '2'):
        assert evaluate.main([*arguments, '--workers', workers]) == 0
        line = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
        found.append({k: v for k, v in line.items() if k != 'seconds'})
    assert found[0] == found[1] and found[0]['episodes'] == 3


def test_a_run_in_mujoco_goes_on_where_it_was_cut_off(tmp_path, capsys, monkeypatch):
    arguments = ['--suite', 'open', '--world', 'mujoco', '--policy', 'straight', '--against', '',
                 '--episodes', '2', '--run', str(tmp_path)]
    assert evaluate.main(arguments) == 0
    whole = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    (file,) = tmp_path.glob('*.jsonl')
    first, second = file.read_text().splitlines()
    file.write_text(first + '\n' + second[:20])  # killed while it wrote
    driven = []
    drive = mujoco_suite.episode
    monkeypatch.setattr(mujoco_suite, 'episode',
                        lambda job, number: driven.append(number) or drive(job, number))
    assert evaluate.main(arguments) == 0
    again = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert driven == [1] and {**again, 'seconds': 0} == {**whole, 'seconds': 0}
    assert evaluate.main([*arguments, '--seed', '1']) == 2
    assert 'seed is 0 there and 1 here' in capsys.readouterr().err


@pytest.mark.parametrize(('extra', 'said'), [
    (['--set', 'max_speed'], "'max_speed' is not accepted; it takes NAME=VALUE"),
    (['--set', 'max_speed=9'], 'max_speed: 9.0 is out of range'),
    (['--set', 'wings=2'], "unknown parameter 'wings'"),
    (['--world', 'mujoco', '--sim', 'lidar.beams=1'], 'lidar.beams: 1 is out of range'),
    (['--world', 'mujoco', '--encoder', 'nowhere.safetensors'], 'nowhere.safetensors'),
    (['--world', 'mujoco', '--robot', 'generic'], '--robot generic: it has no description'),
])
def test_a_robot_that_is_not_accepted_is_refused(capsys, extra, said):
    assert evaluate.main(['--policy', 'guidance', '--episodes', '1', *extra]) == 2
    assert said in capsys.readouterr().err
