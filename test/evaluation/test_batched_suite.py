"""The evaluation command: pairing, causes of failure, errors and the JSON line."""

import json

import numpy as np
import pytest

from karpathy_control.contracts.config import ControlConfig, PolicyConfig
from karpathy_control.contracts.types import Pose2
from karpathy_control.contracts.world import Box, World
from karpathy_control.evaluation import evaluate, suites
from karpathy_control.evaluation.batched import guidance, run
from karpathy_control.evaluation.suites import Episode, Result, make_worlds

WALLS = (Box(0.0, 2.0, 3.0, 0.1), Box(0.0, -2.0, 3.0, 0.1), Box(3.0, 0.0, 0.1, 2.0),
         Box(-3.0, 0.0, 0.1, 2.0))
WORLD = World('test', 30_000, (-3.0, -2.0, 3.0, 2.0), Pose2(-1.0, 0.0, 0.0), ((1.0, 0.0),),
              boxes=WALLS)


def stay(features):
    return np.zeros_like(features.base_command)


def drive(policy, episodes, **options):
    return run([WORLD], episodes, policy, ControlConfig(), PolicyConfig(), **options)


def test_every_episode_ends_once_and_is_reproducible():
    # three episodes on batch 3 and then one at a time give the same results
    plan = [Episode(0, 0, seed) for seed in (5, 6, 7)]
    together = drive(guidance, plan)
    assert [r.outcome for r in together] == ['success'] * 3
    assert drive(guidance, plan) == together


def test_standing_still_is_a_timeout():
    assert drive(stay, [Episode(0, 0, 1)], episode_time=1.0) == [
        Result('timeout', pytest.approx(1.0))]


def test_ungated_ramming_is_a_contact():
    ram = drive(lambda f: np.full_like(f.base_command, (-0.3, 0.0)), [Episode(0, 0, 1)],
                gate=False)
    assert ram[0].outcome == 'contact'
    assert ram[0].moving


def test_summary_counts():
    found = suites.summarise([Result('success', 4.0), Result('success', 6.0),
                               Result('contact', 1.0, True), Result('timeout', 60.0)])
    assert found['success'] == 0.5
    assert found['time_s'] == 5.0
    assert (found['contacts'], found['contacts_while_moving'], found['timeouts']) == (1, 1, 1)


def test_worlds_are_unseen():
    for world in make_worlds('open', 3, 0):
        assert suites.FIRST_SEED <= world.seed < suites.LAST_SEED
    with pytest.raises(ValueError, match="unknown suite 'mars'; known: generated"):
        make_worlds('mars', 1, 0)


def test_command_prints_one_json_object_last(capsys):
    assert evaluate.main(['--suite', 'open', '--policy', 'guidance', '--episodes', '2']) == 0
    found = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert {'suite', 'policy', 'worlds', 'episodes', 'success', 'success_ci95', 'contacts',
            'timeouts', 'time_s', 'score', 'seconds', 'failures', 'baseline'} <= set(found)
    assert found['episodes'] == found['baseline']['episodes'] == 2


def test_command_names_what_is_wrong(capsys):
    assert evaluate.main(['--policy', 'nowhere.safetensors', '--episodes', '1']) == 2
    assert 'nowhere.safetensors' in capsys.readouterr().err
    assert evaluate.main(['--episodes', '0', '--policy', 'guidance']) == 2
    assert 'episodes is 0' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        evaluate.main(['--ablate', 'luck'])
    assert "--ablate 'luck': it takes reflex, gate, camera" in capsys.readouterr().err


def test_mujoco_suite_drives_the_same_legs_through_the_code_of_the_nodes(capsys):
    arguments = ['--suite', 'open', '--world', 'mujoco', '--policy', 'guidance', '--episodes', '1']
    found = []
    for extra in ([], [], ['--set', 'max_speed=0.4']):
        assert evaluate.main([*arguments, *extra]) == 0
        found.append(json.loads(capsys.readouterr().out.strip().splitlines()[-1]))
        assert found[-1]['success'] == 1.0 and found[-1]['world'] == 'mujoco'
    # simulated time: the same on every run, and longer at a third of the speed
    assert found[0]['time_s'] == found[1]['time_s'] < found[2]['time_s'] / 2


@pytest.mark.parametrize(('extra', 'said'), [
    (['--set', 'max_speed'], "--set 'max_speed': it takes NAME=VALUE"),
    (['--set', 'max_speed=9'], 'max_speed: 9.0 is out of range'),
    (['--set', 'wings=2'], "unknown parameter 'wings'"),
    (['--world', 'mujoco', '--robot', 'generic'], '--robot generic: it has no description'),
])
def test_a_robot_that_is_not_accepted_is_refused(capsys, extra, said):
    assert evaluate.main(['--policy', 'guidance', '--episodes', '1', *extra]) == 2
    assert said in capsys.readouterr().err
