"""What is estimated of a drive of a base that is known: plant.py."""

import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plant import ROBOT, Plant, driven

from karpathy_control.bringup.parameters import checked, read_parameters
from karpathy_control.cli import run
from karpathy_control.contracts.config import ConfigError
from karpathy_control.contracts.types import Pose2
from karpathy_control.learning.config import load
from karpathy_control.measuring.estimates import Estimator, figure
from karpathy_control.measuring.files import gate, randomisation, warnings
from karpathy_control.measuring.recording import Recording, offsets

# Odometry of 50 Hz is read between its samples, and commands stand for 20 ms: half of that.
TIME = 0.012
PROFILE = {'name': 'plant', 'description': '', 'command_timeout': 0.25,
           'command_timeout_verified_by': 'the tests', 'stamped_cmd_vel': True, 'topics': {}}


def estimates(plant, robot=ROBOT, **arguments):
    return Estimator(driven(plant, robot, **arguments), robot).run()


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(plant=st.builds(
    Plant, delay=st.floats(0.0, 0.12), creep=st.floats(0.0, 0.06),
    speed_gain=st.floats(0.95, 1.05), turn_gain=st.floats(0.8, 1.1),
    odometry=st.floats(0.96, 1.04), turn_odometry=st.floats(0.95, 1.05),
    gyro_bias=st.floats(-0.02, 0.02), range_noise=st.floats(0.002, 0.01),
    lidar=st.builds(Pose2, st.floats(0.05, 0.15), st.floats(-0.05, 0.05), st.floats(-0.1, 0.1))))
def test_a_base_is_measured_as_it_is(plant):
    e = estimates(plant)
    f = e.figures
    for name in ('latency_start', 'latency_stop', 'turn_latency_start', 'turn_latency_stop',
                 'dead_time', 'turn_dead_time'):
        assert f[name].mean == pytest.approx(plant.delay, abs=TIME + 0.01), name
    assert f['creep'].mean == pytest.approx(plant.creep, abs=0.006)
    assert f['speed_gain'].mean == pytest.approx(plant.speed_gain, abs=0.005)
    assert f['turn_gain'].mean == pytest.approx(plant.turn_gain, abs=0.003)
    assert f['odometry_scale'].mean == pytest.approx(plant.odometry, abs=0.004)
    assert f['odometry_turn_scale'].mean == pytest.approx(plant.turn_odometry, abs=0.003)
    assert f['gyro_scale'].mean == pytest.approx(1.0, abs=0.003)
    assert f['gyro_bias'].mean == pytest.approx(plant.gyro_bias, abs=1e-6)
    assert f['scan_noise'].mean == pytest.approx(plant.range_noise, rel=0.1)
    assert f['scan_lateness'].mean == pytest.approx(0.0, abs=0.006)
    assert (e.lidar.x, e.lidar.y) == pytest.approx((plant.lidar.x, plant.lidar.y), abs=0.004)
    assert e.lidar.yaw == pytest.approx(plant.lidar.yaw, abs=0.002)
    # a full step of speed: 1.2 m/s by 2.5 m/s^2 after the delay, and what the tyres creep
    speed = 1.2 * plant.speed_gain
    v, way = e.stops[-1]
    assert v == pytest.approx(speed, abs=0.01)
    told = speed * (0.5 * 1.2 / 2.5 + plant.delay + plant.creep)
    assert way == pytest.approx(told, abs=speed * TIME + 0.005)


@pytest.fixture(scope='module')
def weak():
    """A base that cannot do what the profile says: 1.2, 1.5 m/s^2 and 3 rad/s^2."""
    return estimates(Plant(acceleration=1.2, deceleration=1.5, turn_acceleration=3.0))


def test_rates_that_the_base_does_not_reach_are_found(weak):
    for name, true in (('acceleration', 1.2), ('deceleration', 1.5), ('turn_acceleration', 3.0),
                       ('turn_deceleration', 3.0)):
        assert not weak.followed[name]
        assert weak.figures[name].mean == pytest.approx(true, rel=0.02)
    # the slow ramp is not taken for delay
    assert weak.figures['latency_stop'].mean == pytest.approx(0.04, abs=0.03)
    values = {entry.name: entry.value for entry in gate(weak, ROBOT)}
    # nine tenths, down to a twentieth: 1.08, 1.35, 2.7
    assert values['robot.acceleration'] == pytest.approx(1.05, abs=0.051)
    assert values['robot.deceleration'] == pytest.approx(1.35, abs=0.051)
    assert values['robot.turn_acceleration'] == pytest.approx(2.7, abs=0.051)


def test_the_stops_lie_within_what_the_gate_then_counts_with(weak):
    values = {entry.name: entry.value for entry in gate(weak, ROBOT)}
    for v, way in weak.stops:
        assert way < v * v / (2 * values['robot.deceleration']) + v * values['gate.reaction_time']
    assert warnings(weak, ROBOT) == []


def test_rates_that_it_reaches_are_kept():
    e = estimates(Plant())
    assert all(e.followed.values())
    values = {entry.name: entry.value for entry in gate(e, ROBOT)}
    assert (values['robot.acceleration'], values['robot.deceleration']) == (2.0, 2.5)
    assert values['robot.lidar_pose'] == ROBOT.lidar_pose  # agrees within 2 cm


def test_a_first_order_lag_adds_to_the_delay():
    e = estimates(Plant(delay=0.03, lag=0.05))
    assert e.figures['latency_start'].mean == pytest.approx(0.08, abs=TIME)
    assert e.figures['turn_latency_stop'].mean == pytest.approx(0.08, abs=TIME)


def test_a_lidar_that_sweeps_and_looks_backwards():
    """50 ms from the first beam to the last, at 2 rad/s: 0.1 rad."""
    robot = replace(ROBOT, lidar_pose=[-0.2, 0.1, 0.3, 0.0, 0.0, 3.0])
    e = estimates(Plant(sweep=0.05, lidar=Pose2(-0.2, 0.13, 3.1)), robot)
    assert (e.lidar.x, e.lidar.y, e.lidar.yaw) == pytest.approx((-0.2, 0.13, 3.1), abs=0.004)
    values = {entry.name: entry.value for entry in gate(e, robot)}
    # y and yaw are off by more than 2 cm and 0.01 rad, x is not
    assert values['robot.lidar_pose'] == pytest.approx([-0.2, 0.13, 0.3, 0.0, 0.0, 3.1], abs=4e-3)


def test_a_lidar_upside_down():
    told = replace(ROBOT, lidar_pose=[0.1, 0.0, 0.3, math.pi, 0.0, 0.0])
    recording = driven(Plant(upside_down=True, lidar=Pose2(0.1, 0.02, 0.0)))
    found = Estimator(recording, told).run().lidar
    assert (found.x, found.y, found.yaw) == pytest.approx((0.1, 0.02, 0.0), abs=0.004)
    with pytest.raises(ConfigError, match='turns the other way'):
        Estimator(recording, ROBOT).run()


def test_without_an_imu_odometry_stands_in_and_a_person_is_told():
    e = estimates(Plant(turn_odometry=0.96), imu=False)
    assert e.imu_rpy is None and 'scan_lateness' not in e.figures
    assert e.figures['turn_latency_start'].mean == pytest.approx(0.04, abs=TIME)
    assert e.figures['turn_acceleration'].mean == pytest.approx(6.0, rel=0.02)
    assert ['no IMU' in text for text in warnings(e, ROBOT)] == [False, True]


def test_wrong_wheels_are_told_with_the_cure():
    e = estimates(Plant(turn_gain=0.8, speed_gain=0.9, odometry=1.1, turn_odometry=1.25))
    told = ' '.join(warnings(e, ROBOT))
    assert 'by 1.25' in told  # 1 / 0.8
    assert 'wheel radius of the base driver by 0.9' in told
    assert 'odometry tells 1.25' in told and 'odometry tells 1.1' in told


def test_a_tilted_imu_is_levelled():
    recording = driven()
    tilt = math.radians(3.0)  # nose up by the profile's reading: gravity shows on x
    imu = recording.imu.copy()
    imu[:, 4:7] = 9.81 * np.array([-math.sin(tilt), 0.0, math.cos(tilt)])
    e = Estimator(replace(recording, imu=imu), ROBOT).run()
    assert e.imu_rpy == pytest.approx((0.0, tilt, 0.0), abs=1e-6)
    values = {entry.name: entry.value for entry in gate(e, ROBOT)}
    assert values['robot.imu_pose'] == pytest.approx([0, 0, 0.06, 0, 0.0524, 0], abs=1e-4)


def test_the_camera_is_levelled_by_the_ground_that_its_depth_shows():
    """32 cm high and pitched down 0.2, where the profile has 28 cm and 0.15: closed form."""
    height, pitch, fx, cx, cy = 0.32, 0.2, 64.0, 63.5, 47.5
    v, _ = np.mgrid[:96, :128]
    down = np.sin(pitch) + (v - cy) / fx * np.cos(pitch)  # of a ray of depth 1
    depth = np.where(down > 0.05, height / np.maximum(down, 0.05), np.inf).astype(np.float32)
    recording = replace(driven(), depth=np.stack([depth] * 3),
                        pinhole=np.array([fx, fx, cx, cy]))
    e = Estimator(recording, ROBOT).run()
    assert e.camera_z_rpy == pytest.approx((height, 0.0, pitch, 0.0), abs=1e-3)
    assert e.figures['depth_noise'].mean == 0.0


def test_a_base_that_never_gets_to_its_speed_is_refused():
    with pytest.raises(ConfigError, match='still speeding up'):
        estimates(Plant(acceleration=0.5))


def test_a_recording_is_the_same_from_its_file(tmp_path):
    recording = driven()
    recording.save(tmp_path / 'a.npz')
    again = Recording.load(tmp_path / 'a.npz')
    for name, value in vars(recording).items():
        assert np.array_equal(getattr(again, name), value, equal_nan=True), name


@pytest.mark.parametrize(('change', 'text'), [
    ({'imu': np.zeros((3, 6))}, 'imu of shape'), ({'odom': np.full((3, 6), np.nan)}, 'odom of'),
    ({'scan_times': np.zeros(3)}, 'as many of all'),
    ({'spans': np.full((1, 9), 7.0)}, r'kind 7\.0')])
def test_a_recording_that_is_none_is_refused(change, text):
    with pytest.raises(ConfigError, match=text):
        replace(driven(), **change)


def test_an_empty_drive_is_refused():
    with pytest.raises(ConfigError, match='no manoeuvre'):
        Estimator(replace(driven(), spans=np.zeros((0, 9))), ROBOT).run()


def test_a_figure_of_nothing_is_refused_by_name():
    with pytest.raises(ConfigError, match='creep: could not be told'):
        figure('creep', [math.nan])
    assert figure('creep', [1.0, math.nan, 3.0], 's').text == '2 [1, 3] s, 2 times'


def test_offsets_are_those_of_the_least_delay():
    """A clock that is 100 s behind and, after 3 s, stalls for half a second."""
    stamps = np.arange(0.0, 8.0, 0.02)
    real = stamps + 100.0 + np.where(stamps > 3.0, 0.5, 0.0)
    received = real + np.random.default_rng(0).exponential(0.01, len(real)) + 0.001
    at, offset = offsets(stamps, received)
    assert np.interp([0.5, 7.5], at, offset) == pytest.approx([100.001, 100.501], abs=0.002)


def test_the_command_writes_files_that_the_loop_and_the_training_take(tmp_path, capsys):
    profile = tmp_path / 'plant.yaml'
    robot = {name: value for name, value in asdict(ROBOT).items() if name != 'command_timeout'}
    profile.write_text(yaml.safe_dump({**PROFILE, 'robot': robot}))
    driven(Plant(deceleration=1.5, delay=0.06)).save(tmp_path / 'drive.npz')
    assert run(['measure', '--robot', str(profile), '--recording', str(tmp_path / 'drive.npz'),
                '--out', str(tmp_path / 'out')]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    parameters = read_parameters(tmp_path / 'out' / 'gate.yaml')
    control = checked('control', parameters['control'])
    assert control == {name: pytest.approx(value) for name, value in said['gate'].items()}
    assert control['robot.deceleration'] == pytest.approx(1.35, abs=0.051)
    assert control['gate.reaction_time'] >= 0.06 + 0.05 + 0.02
    for node in ('sensor', 'perception', 'policy', 'sim', 'base_guard'):
        assert checked(node, parameters[node])['robot.deceleration'] == control[
            'robot.deceleration']
    drawn = load(tmp_path / 'out' / 'train.yaml').randomisation
    assert drawn.delay == said['train']['delay'] and drawn.delay[0] <= 0.07 <= drawn.delay[1]
    assert drawn.deceleration == [1.0, pytest.approx(1.5 / control['robot.deceleration'],
                                                     rel=0.03)]
    text = (tmp_path / 'out' / 'gate.yaml').read_text()
    assert 'the profile had 2.5' in text and max(map(len, text.splitlines())) < 100


@pytest.mark.parametrize(('arguments', 'text'), [
    (['--speed', '9'], '--speed 9: it takes more than 0 and at most 1.2'),
    (['--recording', 'setup.py'], 'setup.py: no recording of a drive'),
    (['--robot', 'nobody'], 'nobody')])
def test_the_command_refuses_by_name(arguments, text, tmp_path, capsys):
    assert run(['measure', '--out', str(tmp_path), *arguments]) == 2
    assert text in capsys.readouterr().err


def test_ranges_are_of_the_rates_that_the_gate_states(weak):
    ranges = {entry.name: entry.value for entry in randomisation(weak, ROBOT)}
    # 1.2 over 0.9 of it and a little, rounded down
    assert ranges['acceleration'][1] == pytest.approx(1.2 / 1.05, abs=0.06)
    assert ranges['slip'] == pytest.approx([0.0, 0.0], abs=0.012)
    assert ranges['lidar_fov'] == pytest.approx([4.6, 4.6], abs=0.02)
