"""Configuration of training, and a whole small run of PPO with resume."""

import json

import pytest
import yaml
from rich.console import Console

from karpathy_control.bringup.resources import share
from karpathy_control.contracts.config import ConfigError, ControlConfig, RobotConfig
from karpathy_control.learning import ppo, train
from karpathy_control.learning.config import PolicyTraining, load
from karpathy_control.policy.actor import load_actor

TINY = """
policy:
  worlds: 2
  families: {mixed: 0, cylinders: 0, corridor: 0, rooms: 0, open: 1, low: 0, moving: 0,
             field: 0, swarm: 0, people: 0}
  ppo: {steps_per_iteration: 4, mini_batches: 2, epochs: 1}
"""


def test_the_shipped_file_states_the_defaults():
    assert load(share() / 'config' / 'train.yaml') == PolicyTraining()


def test_family_counts_add_up():
    counts = PolicyTraining(worlds=17).family_counts()
    assert sum(counts.values()) == 17
    # shares 1 1 1 1 .5 1 6 1 2 2 of 16.5: corridor has 17 / 16.5 = 1.03, moving what rounding left
    assert (counts['corridor'], counts['moving']) == (1, 7)


@pytest.mark.parametrize('text,message', [
    ('policy: {episode_tim: 3}', "did you mean 'episode_time'"),
    ('policy: {ppo: {gamma: 2.0}}', r'ppo.gamma: 2.0 is out of range; it takes float in \[0, 1\]'),
    ('policy: {randomisation: {slip: [0.2, 0.1]}}', r'slip: \(0.2, 0.1\) is not accepted'),
    ('policy: {randomisation: {slip: [0.2]}}', 'it takes'),
    ('encoder: {}', 'it needs a mapping "policy"'),
    ('policy: [', 'not readable'),
])
def test_wrong_configuration_is_named(tmp_path, text, message):
    path = tmp_path / 'bad.yaml'
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load(path)


def test_unknown_training_and_missing_checkpoint(tmp_path, capsys):
    assert train.main(['both']) == 2
    assert ("'both' is unknown; it takes policy, encoder, motion, novelty or surrogate"
            in capsys.readouterr().err)
    config = tmp_path / 'tiny.yaml'
    config.write_text(TINY)
    assert ppo.main(['--resume', '--run', str(tmp_path), '--config', str(config), '--envs', '2',
                     '--steps', '8']) == 2
    assert 'no such file; start without --resume' in capsys.readouterr().err
    assert ppo.main(['--device', 'cuda:99', '--run', str(tmp_path), '--config',
                     str(config)]) == 2
    assert "device 'cuda:99' is not available" in capsys.readouterr().err


def test_worse_than_the_guidance_is_not_shipped():
    base = {'success': 0.95, 'contacts': 2}
    assert ppo.worth_shipping({'reflex': {'success': 0.95, 'contacts': 2}, 'guidance': base})
    assert not ppo.worth_shipping({'reflex': {'success': 0.94, 'contacts': 0}, 'guidance': base})
    assert not ppo.worth_shipping({'reflex': {'success': 0.99, 'contacts': 3}, 'guidance': base})


def test_a_small_run_resumes_and_writes_weights_that_load(tmp_path, capsys):
    config = tmp_path / 'tiny.yaml'
    config.write_text(TINY)
    common = ['--envs', '2', '--run', str(tmp_path / 'run'), '--out', str(tmp_path / 'weights'),
              '--config', str(config), '--episodes', '1']
    assert ppo.main(['--steps', '8', *common]) == 0
    assert ppo.main(['--steps', '16', '--resume', *common]) == 0
    result = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert result['steps'] == 16
    assert result['reflex']['episodes'] == result['guidance']['episodes'] == 1
    assert result['robot'] == 'default'
    assert ppo.main(['--steps', '24', '--resume', '--robot', 'jackal_barn', *common]) == 2
    assert "trained for robot '', not for 'jackal_barn'" in capsys.readouterr().err
    _, card = load_actor(tmp_path / 'run' / 'actor.safetensors')
    assert card.command.startswith('karpathy-control train policy --steps 16')
    assert card.metrics['reflex'] == result['reflex']
    assert any((tmp_path / 'run').glob('events.out.tfevents.*'))


def test_a_profile_decides_the_robot_that_learns(tmp_path, capsys):
    console = Console(stderr=True, width=200)
    name, robot = ppo.robot_from('jackal_barn', console)
    control, policy = ppo.configs(robot)
    assert (name, robot.max_speed, robot.max_reverse) == ('jackal_barn', 2.0, 1.5)
    assert control.robot is robot and policy.robot is robot
    assert control.gate == ControlConfig().gate  # the default disc reaches its corners
    assert ppo.robot_from(None, console) == ('', RobotConfig())
    assert capsys.readouterr().err == ''
    data = yaml.safe_load((share() / 'config' / 'robots' / 'generic.yaml').read_text())
    data['robot']['footprint'] = [0.4, 0.3, -0.4, 0.3, -0.4, -0.3, 0.4, -0.3]
    path = tmp_path / 'large.yaml'
    path.write_text(yaml.safe_dump(data))
    _, large = ppo.robot_from(str(path), console)
    assert ppo.configs(large)[0].gate.start_radius == pytest.approx(0.5)  # 3, 4, 5
    assert 'farthest corner is 0.50 m away; the worlds of training have ways for 0.4 m' in (
        capsys.readouterr().err)
    assert ppo.main(['--robot', 'nobody', '--run', str(tmp_path)]) == 2
    assert 'robot: ' in capsys.readouterr().err
