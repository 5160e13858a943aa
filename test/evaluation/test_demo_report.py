"""Run data, figures and report of a known episode."""

import math
import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from karpathy_control.contracts.config import RobotConfig
from karpathy_control.contracts.geometry import from_frame
from karpathy_control.evaluation import figures
from karpathy_control.evaluation.report import versions, write_index, write_report
from karpathy_control.evaluation.run_data import (
    RunData,
    body_outline,
    combined,
    goals_in_odom,
    percentiles,
)

sys.path.insert(0, str(Path(__file__).parent))
from demo_events import WORLD, events

ROBOT = RobotConfig()


def make_run(**options):
    run = RunData(WORLD, WORLD.goals)
    for event in events(**options):
        run.take(event)
    return run


def test_the_result_counts_what_happened():
    run = make_run()
    assert run.passed
    # from (1, 2): 2 m up, 3 m left, 7 m down
    assert run.distance == pytest.approx(12.0)
    assert run.result('r.html') == {
        'goals': 3, 'reached': 3, 'contacts': 0, 'seconds': 7.5,
        'latency_ms': {'p50': 9.0, 'p99': 12.0, 'max': 15.0}, 'missed_observations': 1,
        'interventions': 3, 'report': 'r.html'}
    assert not make_run(contacts=1).passed
    short = make_run(outcomes=('reached', 'blocked', 'reached_by_odometry_only'))
    assert (short.reached, short.passed) == (1, False)


def test_an_episode_that_said_nothing_is_a_failure():
    run = RunData(WORLD, WORLD.goals)
    run.take({'event': 'answer', 'ok': True})
    assert not run.passed
    assert run.track.shape == (0, 7)
    assert run.result()['latency_ms'] == {}


def test_goals_in_odom_start_at_the_start_pose():
    # The robot looks along +y: a goal 2 m up is 2 m ahead, one to the left (-x) is at +y.
    got = goals_in_odom(WORLD, 2)
    assert got[0] == pytest.approx((2.0, 0.0))
    assert got[1] == pytest.approx((2.0, 3.0))
    assert from_frame(got, WORLD.start) == pytest.approx(np.array(WORLD.goals[:2]))


def test_several_seeds_add_up():
    results = {seed: make_run(contacts=seed).result() for seed in (0, 1, 2)}
    total = combined(results, [1.0, 2.0, 3.0, float('nan')], 'index.html')
    assert (total['goals'], total['reached'], total['contacts']) == (9, 9, 3)
    assert total['seconds'] == 22.5
    assert total['latency_ms'] == {'p50': 2.0, 'p99': 2.98, 'max': 3.0}
    assert [row['seed'] for row in total['seeds']] == [0, 1, 2]
    assert percentiles([]) == {}


def test_obstacles_are_named_by_what_the_lidar_sees_of_them():
    kinds = [figures.obstacle_kind(c, 0.305, 0.5) for c in WORLD.cylinders]
    assert kinds == ['seen', 'low', 'overhang', 'above']


def test_the_footprint_turns_with_the_robot():
    outline = body_outline(np.array([[1.0, 0], [0, 0.5], [-1, 0]]), 2.0, 3.0, math.pi / 2)
    assert outline == pytest.approx(np.array([[2, 4], [1.5, 3], [2, 2]]))


@pytest.mark.parametrize('draw', [
    lambda run: figures.path_figure([run], ROBOT.polygon, 0.305, 0.5),
    figures.timeline_figure,
    lambda run: figures.latency_figure(run.done.get('latencies', []),
                                       run.done.get('stages_ms', {})),
])
def test_pictures_show_something_and_survive_an_empty_episode(draw):
    full, empty = (cv2.imdecode(np.frombuffer(draw(run), np.uint8), cv2.IMREAD_COLOR)
                   for run in (make_run(), RunData(WORLD, WORLD.goals)))
    assert min(full.shape[:2]) > 250
    ink = [np.mean(np.any(picture != 255, axis=2)) for picture in (full, empty)]
    assert ink[0] > ink[1] > 0.001


def test_the_report_stands_alone(tmp_path):
    frame = tmp_path / 'frame.png'
    cv2.imwrite(str(frame), np.full((96, 128, 3), 90, np.uint8))
    run = make_run(outcomes=('reached', 'timeout', 'reached'))
    run.take({'event': 'frame', 'index': 1, 'png': str(frame)})
    run.take({'event': 'frame', 'index': 2, 'png': str(tmp_path / 'gone.png')})
    path = write_report(tmp_path / 'out' / 'report.html', [run], ROBOT.polygon, 0.305, 0.5,
                        'karpathy-control demo --world <odd> & seed', {'robot': 'jackal'})
    text = path.read_text(encoding='utf-8')
    sources = re.findall(r'(?:src|href)="([^"]{0,30})', text)
    assert len(sources) == 4  # path, one camera picture, latency, time
    assert all(re.match(r'data:image/(png|jpeg);base64,', source) for source in sources)
    assert '&lt;odd&gt; &amp; seed' in text
    assert '2 / 3' in text
    assert 'timeout' in text
    assert 'not passed' in text
    assert '9.0 ms' in text
    assert 'jackal' in text


def test_two_robots_share_a_picture_and_have_sections_of_their_own(tmp_path):
    runs = []
    for name in 'ab':
        run = RunData(WORLD, WORLD.goals, robot=name)
        for event in events():
            run.take(event)
        runs.append(run)
    alone = figures.path_figure(runs[:1], ROBOT.polygon, 0.305, 0.5)
    assert figures.path_figure(runs, ROBOT.polygon, 0.305, 0.5) != alone
    path = write_report(tmp_path / 'report.html', runs, ROBOT.polygon, 0.305, 0.5, 'again', {})
    text = path.read_text()
    assert text.count('<h2>Paths</h2>') == 1 and '<h2>Path</h2>' not in text
    for name in 'ab':
        assert text.count(f'<h2>Robot {name}: Goals</h2>') == 1
    runs[1].outcomes.pop()
    write_report(path, runs, ROBOT.polygon, 0.305, 0.5, 'again', {})
    assert 'not passed' in path.read_text()  # one that missed a goal is enough


def test_the_overview_links_the_reports(tmp_path):
    result = combined({4: {**make_run().result(str(tmp_path / 'a' / 'report.html'))}}, [], 'x')
    text = write_index(tmp_path / 'sweep.html', result, 'mixed', 'demo').read_text()
    assert 'href="a/report.html"' in text
    assert '3 of 3 goals' in text


def test_versions_name_what_is_there():
    found = versions()
    assert found['numpy'] == np.__version__
    assert found['Python'].startswith('3.')
