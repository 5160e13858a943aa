"""Bags of known content as a dataset: each frame is that of its stamp, and all else is counted."""

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='bags of messages need ROS')
pytest.importorskip('pyarrow', reason='pyarrow is not installed')

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from pyarrow import parquet
from rclpy.serialization import serialize_message

from karpathy_control.bags.lerobot_format import IMAGE
from karpathy_control.bags.privacy import pixelate
from karpathy_control.bags.recording import BagWriter, Offered
from karpathy_control.bringup.export import parse
from karpathy_control.contracts.config import ConfigError
from karpathy_control.contracts.geometry import to_frame
from karpathy_control.contracts.interfaces import BY_NAME
from karpathy_control.contracts.layout import SCAN_BEAMS
from karpathy_control.contracts.types import Action, Command, Pose2, Scan, State
from karpathy_control.nodes import convert
from karpathy_control.nodes.exporter import main

MS = 1_000_000
OFFERED = Offered(False, False, 5)
SIZE = (12, 16)
GOALS = ((5.0, 1.0), (-3.0, 2.0))  # odom; the second from frame 40 on
LENGTH = 80


def stamp_of(k, period=50):
    return (1000 + period * k) * MS


def state_of(k, period=50):
    return State(stamp_of(k, period), 0.02 * k, 0.5, 0.03 * k, 0.4, 0.6)


def picture(k):
    return np.random.default_rng(k).integers(0, 256, (*SIZE, 3)).astype(np.uint8)


def ranges_of(k):
    """Bearing 0 is free, 1 unknown, the others 1 m and k mm."""
    ranges = np.full(SCAN_BEAMS, 1.0 + 1e-3 * k, np.float32)
    ranges[:2] = np.inf, np.nan
    return ranges


def asked(k):
    return Command(0.1 + 1e-3 * k, 0.2)


def went_out(k):
    """What the policy asked for in every second frame."""
    return asked(k) if k % 2 else Command(0.05, -1e-3 * k)


def control_state(answers):
    status = DiagnosticStatus(name='control', message='driving')
    if answers is not None:
        status.values = [KeyValue(key=convert.ANSWERS, value=convert.answers_text(answers))]
    return status


def record(folder, lost=(), no_goal=(), size=None, period=50, answering=True, namespace=''):
    """A bag of LENGTH observations. lost: (topic, frame) that are not in it."""
    def put(name, k, message):
        if (name, k) not in lost:
            bag.write(f'{namespace}/{name}', BY_NAME[name].type, OFFERED, stamp_of(k, period),
                      serialize_message(message))

    with BagWriter(folder) as bag:
        answers = []
        for k in range(LENGTH):
            stamp, state = stamp_of(k, period), state_of(k, period)
            goal = to_frame([GOALS[k >= 40]], Pose2(state.x, state.y, state.yaw))[0]
            put('observation/state', k, convert.odometry_message(state, 'odom', 'base_link'))
            put('observation/scan', k, convert.layout_scan_message(
                Scan(stamp, ranges_of(k), 10.0), 'base_link'))
            put('observation/goal', k, convert.pose_message(
                *goal, stamp, '' if k in no_goal else 'base_link'))
            put('observation/image', k, convert.image_message(
                picture(k) if size is None else np.zeros((*size, 3), np.uint8), stamp, 'c',
                'rgb8'))
            put('policy/action', k, convert.twist_message(asked(k), stamp, 'base_link', True))
            answers.append(Action(stamp, went_out(k)))
            if k % 3 == 2:  # `control/state` comes at its own rate
                put('control/state', k, control_state(answers if answering else None))
                answers = []
        put('control/state', LENGTH, control_state(answers if answering else None))
    return folder


def export(out, *bags, cells=0, shortest=0.5, namespace=''):
    return main(['--bag', *map(str, bags), '--out', str(out), '--camera', 'observation/image',
                 '--blur', str(cells), '--task', 'go', '--shortest', str(shortest),
                 '--namespace', namespace, '--robot', 'jackal'])


def said(capsys):
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def table(out):
    return parquet.read_table(out / 'data' / 'chunk-000' / 'file-000.parquet').to_pydict()


def test_every_frame_is_that_of_its_stamp(tmp_path, capsys):
    bag = record(tmp_path / 'bag')
    assert export(tmp_path / 'set', bag) == 0
    report, rows = said(capsys), table(tmp_path / 'set')
    assert report['frames'] == report['observations'] == len(rows['stamp']) == LENGTH
    assert (report['episodes'], report['cuts'], report['dropped']) == (2, {'new_goal': 1}, {})
    assert report['changed_by_control'] == LENGTH / 2 and report['fps'] == 20
    assert rows['episode_index'] == [0] * 40 + [1] * 40
    assert rows['frame_index'] == [*range(40), *range(40)]
    for k in range(LENGTH):
        state, there = state_of(k), to_frame([GOALS[k >= 40]], state_of(k).pose)[0]
        expected = {'stamp': [stamp_of(k)], 'action': [went_out(k).v, went_out(k).w],
                    'proposal': [asked(k).v, asked(k).w],
                    'pose': [state.x, state.y, state.yaw],
                    'observation.state': [0.4, 0.6, *there],
                    'observation.scan': [10.0, 0.0, *ranges_of(k)[2:]],
                    'observation.scan_known': [1.0, 0.0, *[1.0] * (SCAN_BEAMS - 2)]}
        for key, values in expected.items():
            np.testing.assert_allclose(np.ravel(rows[key][k]), values, rtol=1e-6, atol=1e-6,
                                       err_msg=f'{key} of frame {k}')
        decoded = cv2.imdecode(np.frombuffer(rows[IMAGE][k]['bytes'], np.uint8),
                               cv2.IMREAD_COLOR)[:, :, ::-1]
        assert np.array_equal(decoded, picture(k))


def test_what_is_left_out_is_counted_by_cause(tmp_path, capsys):
    """Frames 10, 20, 23, 30 fall out; 21 and 22 lie between, 24 to 29 are less than half a second.

    Episodes: 0..9, 11..19, [21, 22], [24..29], [31..39], 40..69 of which 60 and 61 have no goal.
    """
    bag = record(tmp_path / 'bag', no_goal=(60, 61), lost={
        ('observation/image', 10), ('observation/scan', 20), ('policy/action', 23),
        ('observation/state', 30), ('control/state', 71)})
    assert export(tmp_path / 'set', bag, shortest=0.5) == 0
    report = said(capsys)
    assert report['dropped'] == {'no_command': 3, 'no_goal': 2, 'no_image': 1, 'no_proposal': 1,
                                 'no_scan': 1, 'no_state': 1}  # answers of 69, 70, 71 in one
    # Runs of frames: 10, 9, 2, 6, 9 | 20 (40..59), 7 (62..68), 8 (72..79); 10 make half a second.
    assert report['short'] == {'episodes': 6, 'frames': 9 + 2 + 6 + 9 + 7 + 8}
    assert (report['episodes'], report['frames']) == (2, 30)
    assert report['cuts'] == {'gap': 6, 'new_goal': 1}
    assert report['observations'] == LENGTH == 30 + 41 + sum(report['dropped'].values())
    assert table(tmp_path / 'set')['stamp'] == [stamp_of(k) for k in (*range(10), *range(40, 60))]


def test_malformed_messages_are_counted(tmp_path, capsys):
    bag = record(tmp_path / 'bag')
    with BagWriter(tmp_path / 'odd') as other:
        other.write('/control/state', BY_NAME['control/state'].type, OFFERED, 1,
                    serialize_message(DiagnosticStatus(values=[
                        KeyValue(key=convert.ANSWERS, value='12:fast:0')])))
    (bag / 'bag_9.mcap').write_bytes((tmp_path / 'odd' / 'odd_0.mcap').read_bytes())
    assert export(tmp_path / 'set', bag) == 0
    assert said(capsys)['refused'] == {'control/state': 1}


def test_pictures_leave_pixelated_by_default(tmp_path, capsys):
    """The whole command, twice: as it is by default, and with pictures as they are."""
    record(tmp_path / 'bag', size=(96, 128), namespace='/a')
    command = [sys.executable, '-c', 'from karpathy_control.cli import main; raise '
               'SystemExit(main())', 'export', '--bag', str(tmp_path / 'bag'), '--namespace', 'a']
    done = subprocess.run([*command, '--out', str(tmp_path / 'one')], capture_output=True,
                          text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1])['blur'] == 16
    assert 'in view' not in done.stdout
    done = subprocess.run([*command, '--out', str(tmp_path / 'two'), '--blur', '0'],
                          capture_output=True, text=True, check=True)
    assert 'who was in view is in the dataset' in done.stdout
    assert json.loads((tmp_path / 'one' / 'meta' / 'info.json').read_text())['features'][IMAGE][
        'shape'] == [96, 128, 3]


def test_blurred_pictures_hold_the_cells_alone(tmp_path):
    assert export(tmp_path / 'set', record(tmp_path / 'bag'), cells=4) == 0
    rows = table(tmp_path / 'set')
    for k in (0, 39, 79):
        decoded = cv2.imdecode(np.frombuffer(rows[IMAGE][k]['bytes'], np.uint8),
                               cv2.IMREAD_COLOR)[:, :, ::-1]
        assert np.array_equal(decoded, pixelate(picture(k), 4))
        assert len(np.unique(decoded.reshape(-1, 3), axis=0)) <= 4 * 3


def test_several_bags_are_one_dataset(tmp_path, capsys):
    bags = [record(tmp_path / name) for name in ('first', 'second')]
    assert export(tmp_path / 'set', *bags) == 0
    report, rows = said(capsys), table(tmp_path / 'set')
    assert (report['bags'], report['episodes'], report['frames']) == (2, 4, 2 * LENGTH)
    assert rows['index'] == list(range(2 * LENGTH))
    assert rows['episode_index'] == sorted([0, 1, 2, 3] * 40)


def refused(capsys, *arguments, **options):
    assert export(*arguments, **options) == 2
    return capsys.readouterr().err


def test_bags_that_do_not_fit_are_refused_by_name(tmp_path, capsys):
    out = tmp_path / 'set'
    bag = record(tmp_path / 'bag')
    assert ("bag: holds no control/state, observation/goal, observation/image, observation/scan, "
            "observation/state, policy/action in namespace '/b'") in refused(
                capsys, out, bag, namespace='/b')
    lacking = record(tmp_path / 'old', answering=False)
    assert 'old: control/state does not say which command' in refused(capsys, out, lacking)
    slow = record(tmp_path / 'slow', period=100)
    assert 'slow: its observations come at 10.00 Hz' in refused(capsys, out, bag, bag, slow)
    large = record(tmp_path / 'large', size=(96, 128))
    assert 'pictures of 16 x 12, 128 x 96 pixels' in refused(capsys, out, bag, large)
    assert '--blur 16: a picture is 16 pixels wide' in refused(capsys, out, bag, cells=16)
    assert 'no episode of 9.0 s or more: {"out"' in refused(capsys, out, bag, shortest=9.0)
    assert not out.exists()
    assert 'nowhere: holds no recording' in refused(capsys, out, tmp_path / 'nowhere')
    out.mkdir()
    (out / 'x').touch()
    assert 'set: is not empty' in refused(capsys, out, bag)


@pytest.mark.parametrize(('arguments', 'text'), [
    (['--blur', '-1'], '--blur -1: it takes 0'), (['--shortest', 'nan'], '--shortest nan'),
    (['--task', ' '], '--task: is empty')])
def test_wrong_arguments_are_refused(arguments, text):
    with pytest.raises(ConfigError, match=text):
        parse(['--bag', 'b', '--out', 'o', *arguments])
