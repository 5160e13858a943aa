"""A second of a drive that was recorded with test/ros/make_replay_bag.py, through the nodes again.

That its answers are still those of the recording is the regression test of sensing, perception and
policy together; the bag holds journals, raw topics and some of the answers.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='needs rclpy')

from geometry_msgs.msg import TwistStamped
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import LaserScan
from std_msgs.msg import String

from karpathy_control.bags.journal import parse
from karpathy_control.bags.reading import read_bag
from karpathy_control.bags.recording import BagWriter, Offered
from karpathy_control.bags.shelf import header_stamp
from karpathy_control.bringup import replay as command
from karpathy_control.contracts.config import ConfigError
from karpathy_control.nodes import replay

BAG = Path(__file__).parents[1] / 'data' / 'drive'
TOLERANCE = 1e-4


def ran(capsys, bag, stages='chain', tolerance=TOLERANCE):
    """Exit status, the JSON, and all that was said."""
    status = replay.main(['--bag', str(bag), '--stages', stages, '--tolerance', str(tolerance),
                          '--namespace', ''])
    out, err = capsys.readouterr()
    return status, json.loads(out.splitlines()[-1]) if status < 2 else None, out + err


def changed(folder, edit):
    """The bag with every message (topic, bytes) as `edit` gives it; None leaves it out."""
    with BagWriter(folder) as bag:
        for m in read_bag(BAG):
            data = edit(m.topic, m.data)
            if data is not None:
                bag.write(m.topic, m.type, Offered(True, False, 10), m.received, data)
    return folder


def journal(node, edit):
    """An edit of the chunks of one journal; each is given its number in the bag."""
    count = iter(range(100))

    def apply(topic, data):
        if topic != f'/{node}/journal':
            return data
        chunk = edit(next(count), parse(deserialize_message(data, String).data))
        return None if chunk is None else serialize_message(String(data=chunk.text()))
    return apply


def stamps(topic):
    return [header_stamp(m.data) for m in read_bag(BAG, {topic})]


def test_the_actions_are_still_those_of_the_recording(capsys):
    status, said, text = ran(capsys, BAG)
    stage = said['stages']['chain']
    assert status == 0 and said['agrees'], text
    assert stage['sets'] >= 20 and stage['compared'] > 5 * stage['sets'] and not stage['lost']
    actions = [deserialize_message(m.data, TwistStamped).twist.linear.x
               for m in read_bag(BAG, {'/policy/action'})]
    assert max(actions) > 0.3  # it did drive


def test_an_action_that_is_another_is_named(capsys, tmp_path):
    """Of 20 actions the tenth is 1 mm/s faster than it was."""
    at = stamps('/policy/action')[-10]

    def faster(topic, data):
        if topic != '/policy/action' or header_stamp(data) != at:
            return data
        message = deserialize_message(data, TwistStamped)
        message.twist.linear.x += 1e-3
        return serialize_message(message)

    bag = changed(tmp_path / 'bag', faster)
    status, said, text = ran(capsys, bag)
    stage = said['stages']['chain']
    assert status == 1 and not said['agrees']
    assert stage['first'] == {'topic': 'policy/action', 'stamp': at, 'what': 'v',
                              'difference': pytest.approx(1e-3, abs=TOLERANCE)}
    assert stage['agreeing'] == stage['compared'] - 1
    assert f'first: policy/action at {at} ns, v' in text
    assert ran(capsys, bag, tolerance=2e-3)[0] == 0


def test_other_raw_data_give_other_answers(capsys, tmp_path):
    """Every scan a tenth of a metre farther: the first set with one already differs by that."""
    def farther(topic, data):
        if topic != '/scan':
            return data
        message = deserialize_message(data, LaserScan)
        for i, value in enumerate(message.ranges):
            message.ranges[i] = value + 0.1
        return serialize_message(message)

    status, said, _ = ran(capsys, changed(tmp_path / 'bag', farther))
    stage = said['stages']['chain']
    assert status == 1 and stage['first']['topic'] == 'observation/scan'


def test_a_plan_that_was_late_or_not_matters_and_is_taken_from_the_journal(capsys, tmp_path):
    """As if every plan had been late: the first one stays in use, and each set counts."""
    def late(number, chunk):
        return replace(chunk, events=[
            [*event[:3], True] if event[0] == 'set' else event for event in chunk.events])

    status, said, text = ran(capsys, changed(tmp_path / 'bag', journal('policy', late)))
    assert status == 1 and said['stages']['chain']['late'] == said['stages']['chain']['sets']
    assert said['stages']['chain']['first']['topic'] == 'policy/action'
    assert 'late plans' in text


def test_behind_a_message_that_the_recorder_lost_it_waits_for_a_state(capsys, tmp_path):
    lost = stamps('/odom')[-20]
    bag = changed(tmp_path / 'bag', lambda topic, data: (
        None if topic == '/odom' and header_stamp(data) == lost else data))
    # The answers of the first stage alone, before the hole and none behind it.
    bag_sets = ran(capsys, BAG, 'sensor')[1]['stages']['sensor']['sets']
    status, said, text = ran(capsys, bag, 'sensor')
    stage = said['stages']['sensor']
    assert status == 0 and stage['lost'] == {'odom': 1} and 0 < stage['sets'] < bag_sets
    assert '1 of odom' in text


def test_a_hole_in_the_journal_is_waited_out_and_no_state_is_no_agreement(capsys, tmp_path):
    whole = ran(capsys, BAG, 'sensor')[1]['stages']['sensor']['sets']
    holed = changed(tmp_path / 'holed', journal(
        'sensor', lambda number, chunk: None if number == 1 else chunk))
    assert 0 < ran(capsys, holed, 'sensor')[1]['stages']['sensor']['sets'] < whole
    stateless = changed(tmp_path / 'stateless', journal('policy', lambda number, chunk: replace(
        chunk, events=[e for e in chunk.events if e[0] != 'state'])))
    status, said, _ = ran(capsys, stateless)
    assert status == 1 and said['stages']['chain']['sets'] == 0


def test_a_bag_that_lacks_a_topic_is_refused_by_name(capsys, tmp_path):
    bag = changed(tmp_path / 'bag', lambda topic, data: None if topic == '/imu' else data)
    status, _, text = ran(capsys, bag)
    assert status == 2 and 'holds no imu; karpathy-control record' in text
    assert ran(capsys, BAG, 'perception')[0] == 2  # no observation/image was kept in it


@pytest.mark.parametrize(('change', 'said'), [
    ({'weights': '0' * 64}, 'recorded with 0000'),
    ({'parameters': {'reflexes': True}}, "policy, as recorded: unknown parameter 'reflexes'"),
    ({'parameters': {'memory.width': 64}}, 'its recorded state does not fit this version'),
])
def test_what_was_made_otherwise_is_refused(capsys, tmp_path, change, said):
    bag = changed(tmp_path / 'bag', journal('policy', lambda number, chunk: replace(
        chunk, **change)))
    status, _, text = ran(capsys, bag)
    assert status == 2 and said in text


def test_another_machine_is_named(capsys, tmp_path):
    bag = changed(tmp_path / 'bag', journal('policy', lambda number, chunk: replace(
        chunk, made_with={**chunk.made_with, 'processor': 'abacus'})))
    status, said, text = ran(capsys, bag)
    assert status == 0 and said['made_with_other']['processor'][0] == 'abacus'
    assert "processor: recorded with 'abacus'" in text


@pytest.mark.parametrize(('arguments', 'said'), [
    (['--tolerance', '-1'], '--tolerance -1.0: it takes 0 or more'),
    (['--tolerance', 'nan'], '--tolerance nan: it takes 0 or more'),
    (['--stages', 'sensor,control'], "--stages 'control': it takes sensor, perception, policy"),
])
def test_what_is_not_accepted_is_said(arguments, said):
    with pytest.raises(ConfigError, match=said):
        command.parse(['--bag', 'x', *arguments])
