"""What the viewer draws of messages, without DDS; live it is tried in test/ros/test_record.py."""

import json
import subprocess
import sys

import numpy as np
import pytest
from rclpy.serialization import serialize_message

from karpathy_control.bags.recording import BagWriter, Offered
from karpathy_control.contracts.interfaces import BY_NAME
from karpathy_control.contracts.types import Command, Scan, State
from karpathy_control.nodes import convert
from karpathy_control.nodes.qos import message_type

pytest.importorskip('rerun', reason='rerun-sdk is not installed')
import rerun_cli

from karpathy_control.nodes.viewer import Drawing

MS = 1_000_000
OFFERED = Offered(False, False, 5)


class Stream:
    """Keeps what is logged, with its time."""

    def __init__(self):
        self.kept, self.now = [], None

    def set_time(self, timeline, duration=None, timestamp=None):
        assert timeline == 'time'
        self.now = ('duration', duration) if timestamp is None else ('timestamp', timestamp)

    def log(self, path, archetype):
        self.kept.append((self.now, path))


@pytest.fixture
def drawing():
    made = Drawing(Stream())
    made.stream = made._stream
    return made


def odom(milliseconds, x=0.0):
    return convert.odometry_message(State(milliseconds * MS, x, 0.0, 0.0, 0.2, 0.0), 'odom',
                                    'base_link')


def cmd(v):
    return convert.twist_message(Command(v, 0.0), 10**18, 'base_link', True)


def times(drawing, path):
    return [now for now, name in drawing.stream.kept if name == path]


def test_all_share_the_time_of_the_sensors(drawing):
    drawing.draw('cmd_vel', cmd(0.1))  # when is not known yet
    assert drawing.stream.kept == []
    drawing.draw('odom', odom(1500))
    drawing.draw('cmd_vel', cmd(0.1))  # stamped by another clock
    assert times(drawing, 'odom/base') == times(drawing, 'speed/applied') == [('duration', 1.5)]


def test_dates_are_shown_as_dates(drawing):
    drawing.draw('odom', odom(1_700_000_000_000))
    assert times(drawing, 'odom/base') == [('timestamp', 1.7e9)]


def test_what_comes_often_is_drawn_at_its_rate(drawing):
    """Odometry at 50 Hz for a second, drawn at 20 Hz: every third, 17 of 50, is near enough."""
    for k in range(50):
        drawing.draw('odom', odom(20 * (k + 1)))
    assert len(times(drawing, 'odom/base')) == 17
    drawing.draw('odom', odom(5))  # the clock was set back
    assert times(drawing, 'odom/base')[-1] == ('duration', 0.005)


def test_the_trail_grows_where_the_robot_goes(drawing):
    for k, x in enumerate((0.0, 0.01, 0.02, 0.05, 0.05)):
        drawing.draw('odom', odom(100 * (k + 1), x))
    assert len(times(drawing, 'odom/trail')) == 2


def test_a_message_that_cannot_be_read_is_counted(drawing):
    drawing.draw('odom', odom(100))
    drawing.draw('observation/scan', convert.scan_message(
        np.ones(7, np.float32), 100 * MS, 'base_link', 0.0, 0.1, 0.0, 10.0, 0.05))
    assert drawing.refused == 1 and drawing.drawn == 1


def test_every_topic_that_is_drawn_is_in_the_table_and_the_mode_changes_once(drawing):
    assert set(drawing.topics) <= set(BY_NAME)
    drawing.draw('odom', odom(100))
    status = message_type('diagnostic_msgs/msg/DiagnosticStatus')(message='idle')
    for k in range(3):
        drawing.draw('odom', odom(1000 * (k + 1)))
        drawing.draw('control/state', status)
    assert len(times(drawing, 'state')) == 3 and len(times(drawing, 'mode')) == 1


def write_bag(folder, prefix=''):
    scan = convert.layout_scan_message(Scan(100 * MS, np.ones(360, np.float32), 10.0), 'base_link')
    with BagWriter(folder) as bag:
        for name, message in [('odom', odom(100)), ('cmd_vel', cmd(0.1)),
                              ('observation/scan', scan), ('policy/action', cmd(0.2))]:
            bag.write(f'{prefix}/{name}', BY_NAME[name].type, OFFERED, 1,
                      serialize_message(message))
        bag.write('/other', 'std_msgs/msg/Int32', OFFERED, 2,
                  serialize_message(message_type('std_msgs/msg/Int32')()))


def view(*arguments):
    return subprocess.run(
        [sys.executable, '-c', 'from karpathy_control.cli import main; raise SystemExit(main())',
         'view', *map(str, arguments)], check=False, capture_output=True, text=True)


def test_a_bag_becomes_a_file_of_rerun(tmp_path):
    write_bag(tmp_path / 'bag', '/one')
    found = view('--bag', tmp_path / 'bag', '--namespace', 'one', '--save', tmp_path / 'a.rrd',
                 '--no-page')
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout.splitlines()[-1]) == {
        'drawn': 4, 'refused': 0, 'page': '', 'save': str(tmp_path / 'a.rrd')}
    program = str(next(iter(rerun_cli.__path__))) + '/rerun'
    told = subprocess.run([program, 'rrd', 'print', '-vv', str(tmp_path / 'a.rrd')],
                          capture_output=True, text=True, check=True).stdout
    for path in ('/odom/base', '/odom/base/lidar', '/speed/applied', '/speed/proposed'):
        assert path in told, path


def test_a_bag_of_something_else_is_refused_by_its_topics(tmp_path):
    write_bag(tmp_path / 'bag')
    found = view('--bag', tmp_path / 'bag', '--namespace', 'two', '--save', tmp_path / 'a.rrd',
                 '--no-page')
    assert found.returncode == 2
    assert "no topic of the loop in namespace '/two'; it holds /cmd_vel, /observation/scan" in (
        found.stderr)


@pytest.mark.parametrize(('arguments', 'says'), [
    (('--bag', 'nothing'), 'nothing: holds no recording'),
    (('--no-page',), '--no-page without --save FILE shows nothing'),
    (('--save', '/nowhere/a.rrd'), 'there is no folder /nowhere'),
    (('--port', '70000'), '--port 70000: it takes 0 (any) to 65535')])
def test_what_is_not_accepted_is_named(arguments, says):
    found = view(*arguments)
    assert found.returncode == 2 and says in found.stderr
