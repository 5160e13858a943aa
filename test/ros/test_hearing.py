"""A successor of the sensor node that hears only some of those who talk starts again."""

import os
import subprocess
import sys

import pytest

from karpathy_control.bringup.environment import LIFE, environment

pytestmark = pytest.mark.ros

TALKER = """
import rclpy
from nav_msgs.msg import Odometry
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node('talker')
odom = node.create_publisher(Odometry, 'odom', 10)
camera = node.create_publisher(Image, 'camera/image_raw', 10)  # advertised, and silent
node.create_timer(0.05, lambda: odom.publish(Odometry()))
rclpy.spin(node)
"""


@pytest.mark.parametrize(('life', 'ends'), [('1', True), ('0', False)])
def test_only_a_successor_that_misses_a_talker_ends(tmp_path, life, ends):
    values = {**os.environ, **environment('local'), 'ROS_DOMAIN_ID': str(60 + os.getpid() % 40),
              LIFE: life}
    log = tmp_path / 'log'
    with subprocess.Popen([sys.executable, '-c', TALKER], env=values) as talker, \
            log.open('w') as out, subprocess.Popen(
                [sys.executable, '-m', 'karpathy_control.nodes.sensor'], env=values, stdout=out,
                stderr=out) as sensor:
        try:
            if ends:
                assert sensor.wait(30.0) == 0
            else:
                with pytest.raises(subprocess.TimeoutExpired):
                    sensor.wait(12.0)
        finally:
            talker.kill()
            sensor.kill()
    assert ('never heard camera/image_raw' in log.read_text()) == ends
