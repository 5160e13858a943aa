"""Frames out of a recorded drive, and `karpathy-control adapt` on them from end to end."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='needs rclpy')

from rclpy.serialization import deserialize_message
from sensor_msgs.msg import LaserScan

from karpathy_control import cli
from karpathy_control.bags.reading import read_bag
from karpathy_control.bags.recording import BagWriter, Offered
from karpathy_control.contracts.card import sha256_of, verify_weights
from karpathy_control.learning import adapt, dataset
from karpathy_control.nodes import bag_frames, convert
from karpathy_control.perception.novelty import Novelty

BAG = Path(__file__).parents[1] / 'data' / 'drive'


def copied(folder, leave_out=()):
    """The bag without some topics."""
    with BagWriter(folder) as bag:
        for m in read_bag(BAG):
            if m.topic not in leave_out:
                bag.write(m.topic, m.type, Offered(True, False, 10), m.received, m.data)
    return folder


def test_frames_hold_what_the_loop_saw():
    """The bag has the sets that the loop published, too: the same stamps have the same scans."""
    frames = bag_frames.frames_of(BAG, '', None, 0.0)
    arrays = frames.arrays()
    published = {}
    for m in read_bag(BAG, {'/observation/scan'}):
        scan = convert.layout_scan(deserialize_message(m.data, LaserScan))
        published[scan.stamp] = scan.ranges
    same = [(ranges, published[int(stamp)]) for stamp, ranges in
            zip(arrays['stamp'], arrays['scan'], strict=True) if int(stamp) in published]
    assert len(same) >= 8
    for found, sent in same:
        both = np.isfinite(found) & np.isfinite(sent)
        # the loop extrapolated its odometry where a bag can wait for the next: a few mm
        assert both.sum() > 100 and np.mean(np.isnan(found) == np.isnan(sent)) > 0.97
        assert np.quantile(np.abs(found[both] - sent[both]), 0.95) < 0.02
    assert arrays['image'].shape[1:] == (96, 128, 3) and arrays['image'].std() > 10.0
    assert arrays['has_imu'].all() and arrays['camera_pose'][4] == pytest.approx(0.15)
    assert np.isfinite(arrays['past'][-1]).mean() > 0.3 and 0.14 < arrays['past_age'][-1, 0] < 0.26


def test_frames_are_thinned_by_time_and_motion():
    stamps = bag_frames.frames_of(BAG, '', None, 0.3).arrays()['stamp']
    assert len(stamps) >= 2 and np.diff(stamps).min() >= 0.3e9


def test_bags_without_what_is_needed_are_refused_by_name(tmp_path, capsys):
    def refused(bag, *more):
        assert bag_frames.main(['--bag', str(bag), '--out', str(tmp_path / 'f.npz'), '--every',
                                '0.1', '--namespace', '', *more]) == 2
        return capsys.readouterr().err

    assert 'holds no /camera/image_raw; adapting takes' in refused(
        copied(tmp_path / 'a', ('/camera/image_raw',)))
    assert 'holds no /sensor/journal' in refused(
        copied(tmp_path / 'b', ('/sensor/journal',)))
    assert 'holds no recording' in refused(tmp_path / 'nowhere')
    assert 'no_such_robot' in refused(BAG, '--robot', 'no_such_robot')
    assert 'robot.camera_rate is 0' in refused(BAG, '--robot', 'turtlebot3_burger')
    assert not (tmp_path / 'f.npz').exists()


@pytest.fixture
def arguments(tmp_path, monkeypatch):
    """Two copies of the drive and a few simulated frames."""
    monkeypatch.setattr(dataset, 'WORLDS', 2)
    monkeypatch.setattr(dataset, 'FRAMES', 6)
    monkeypatch.setattr(adapt, 'LEAST_LABELS', 100)
    for name in ('learn', 'stop'):
        copied(tmp_path / name)
    return ['--bags', str(tmp_path / 'learn'), '--held-out', str(tmp_path / 'stop'), '--out',
            str(tmp_path / 'out'), '--frames', str(tmp_path / 'frames'), '--every', '0.05',
            '--shards', '1', '--check', '1', '--batch', '4', '--epochs', '1']


def test_adapted_weights_are_offered_and_promoted(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(adapt, 'objections', lambda before, after: [])
    assert cli.run(['adapt', *arguments]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    weights = tmp_path / 'out' / 'encoder.safetensors'
    card = verify_weights(weights, 'encoder')
    assert card.sha256 == said['sha256'] and card.metrics['adapted']['adapted_from'] == sha256_of(
        adapt.find('weights', 'encoder.safetensors'))
    assert said['after']['drive']['labels'] >= 100
    into = tmp_path / 'installed' / 'encoder.safetensors'
    into.parent.mkdir()
    for suffix in ('.safetensors', '.json', '.ood.safetensors'):
        shutil.copy(adapt.find('weights', f'encoder{suffix}'), into.parent)
    old = sha256_of(into)
    assert cli.run(['adapt', '--promote', str(tmp_path / 'out'), '--into', str(into)]) == 0
    done = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert verify_weights(into, 'encoder').sha256 == card.sha256
    assert Novelty(into, adapt.torch.device('cpu')).problem == ''
    assert sha256_of(Path(done['before']) / 'encoder.safetensors') == old
    assert 'train surrogate' in done['refit']


def test_weights_that_got_worse_are_refused_with_both_figures(arguments, tmp_path, capsys):
    """At a rate of one in a million nothing is learned, so the held-out drive is no better."""
    assert cli.run(['adapt', *arguments, '--rate', '0.000001']) == 1
    out = capsys.readouterr().out
    said = json.loads(out.splitlines()[-1])
    assert not said['offered'] and 'recall_2m' in said['reasons'][0]
    assert f'{said["before"]["drive"]["recall_2m"]:g}' in said['reasons'][0]
    assert not (tmp_path / 'out' / 'encoder.safetensors').exists()
    assert cli.run(['adapt', '--promote', str(tmp_path / 'out')]) == 2
    assert 'were refused' in capsys.readouterr().err


def test_promotion_takes_what_was_judged_alone(tmp_path, capsys):
    assert cli.run(['adapt', '--promote', str(tmp_path)]) == 2
    assert 'holds no report.json' in capsys.readouterr().err
    for suffix in ('.safetensors', '.json'):
        shutil.copy(adapt.find('weights', f'encoder{suffix}'), tmp_path)
    (tmp_path / 'report.json').write_text(json.dumps({'offered': True, 'sha256': 'a' * 64}))
    assert cli.run(['adapt', '--promote', str(tmp_path), '--into', str(tmp_path / 'x')]) == 2
    assert 'the report judged aaaa' in capsys.readouterr().err


def test_too_few_labels_are_refused(arguments, monkeypatch, capsys):
    monkeypatch.setattr(adapt, 'LEAST_LABELS', 10**6)
    assert cli.run(['adapt', *arguments]) == 2
    assert 'sub-bins with a label of the lidar; it takes 1000000' in capsys.readouterr().err
