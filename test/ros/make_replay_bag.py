"""Makes the bag of test/nodes/test_replay.py: a second of a drive with a small camera and lidar.

    python test/ros/make_replay_bag.py FOLDER

To be made again where a change of sensing, perception or policy is meant, or weights are new; and
once more where the second that is cut out holds no plan that matters, which its test says.
"""

import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from conftest import Loop
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import String

from karpathy_control.bags.journal import Chunk, parse
from karpathy_control.bags.reading import read_bag
from karpathy_control.bags.recording import BagWriter, Offered
from karpathy_control.bags.shelf import header_stamp
from karpathy_control.bringup.environment import environment

PARAMETERS = """
sim:
  ros__parameters:
    camera.width: 24
    camera.height: 18
    lidar.beams: 121
"""
RAW = ('camera/image_raw', 'camera/camera_info', 'camera/depth', 'scan', 'imu', 'odom',
       'control/goal')
COMPARED = ('observation/state', 'observation/scan', 'perception/entities', 'perception/scan',
            'policy/action')
SECONDS, LENGTH = 8.0, 1_200_000_000  # recorded; ns kept behind the policy's first state


def time_of(event):
    """When an event was, ns of the node's clock; None where it does not say."""
    return {'message': event[2:3], 'state': event[1:2], 'set': event[1:2],
            'release': event[1:2]}.get(event[0], [None])[0]


def cut(chunk: Chunk, end: int) -> Chunk:
    """Without what comes after `end`."""
    kept = []
    for event in chunk.events:
        if (time_of(event) or 0) > end:
            break
        kept.append(event)
    return replace(chunk, events=kept)


def main(target: Path) -> None:
    os.environ.update({'ROS_DOMAIN_ID': '91', **environment('local')})
    with tempfile.TemporaryDirectory() as folder:
        parameters, whole = Path(folder) / 'small.yaml', Path(folder) / 'whole'
        parameters.write_text(PARAMETERS)
        with Loop(Path(folder) / 'loop', params_file=str(parameters)) as loop:
            loop.drive()
            recorder = subprocess.Popen([
                sys.executable, '-c', 'from karpathy_control.cli import main; raise '
                'SystemExit(main())', 'record', '--out', str(whole), '--seconds', str(SECONDS)])
            assert loop.tour(recorder, 60.0) == 0
        journals = [(m, parse(deserialize_message(m.data, String).data))
                    for m in read_bag(whole) if m.topic.endswith('/journal')]
        first = {node: min(e[1] for _, c in journals if c.node == node
                           for e in c.events if e[0] == 'state')
                 for node in ('sensor', 'perception', 'policy')}
        start, end = first['sensor'], first['policy'] + LENGTH
        print({node: (stamp - start) * 1e-9 for node, stamp in first.items()})
        latched = Offered(True, False, 10)
        with BagWriter(target) as bag:
            for m in read_bag(whole, {f'/{name}' for name in (*RAW, *COMPARED)}):
                from_here = start if m.topic[1:] in RAW else first['policy']
                if m.topic == '/control/goal' or (
                        from_here - 100_000_000 <= header_stamp(m.data) <= end):
                    bag.write(m.topic, m.type, latched, m.received, m.data)
            for m, chunk in journals:
                less = cut(chunk, end)
                if less.events and max(time_of(e) or 0 for e in less.events) >= start:
                    bag.write(m.topic, m.type, latched, m.received,
                              serialize_message(String(data=less.text())))
    print(sum(path.stat().st_size for path in target.iterdir()), 'bytes')


if __name__ == '__main__':
    main(Path(sys.argv[1]))
