"""The plan of somebody else, on the topic where Nav2's planner_server publishes its own."""

import os
import subprocess
import sys

import pytest

from karpathy_control.bringup.environment import environment

pytestmark = pytest.mark.ros

# Publishes a way of two straight legs over a corner at 2 Hz, stamped by the clock of the loop.
PLANNER = """
import sys, rclpy
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry, Path
from rclpy.qos import qos_profile_sensor_data
frame, age, *numbers = sys.argv[1:]
cx, cy, x, y = map(float, numbers)
rclpy.init()
node = rclpy.create_node('planner')
out = node.create_publisher(Path, 'plan', 1)
last = [0]
def plan(odom):
    stamp = odom.header.stamp
    if stamp.sec * 2 + stamp.nanosec // 500_000_000 == last[0]:
        return
    last[0] = stamp.sec * 2 + stamp.nanosec // 500_000_000
    path = Path()
    path.header.frame_id = frame
    path.header.stamp.sec = max(stamp.sec - int(age), 0)
    path.header.stamp.nanosec = stamp.nanosec
    for k in range(41):
        a, b = min(k / 20, 1.0), max(k / 20 - 1.0, 0.0)
        pose = PoseStamped(header=path.header)
        pose.pose.position.x = cx * a + (x - cx) * b
        pose.pose.position.y = cy * a + (y - cy) * b
        pose.pose.orientation.w = 1.0
        path.poses.append(pose)
    out.publish(path)
node.create_subscription(Odometry, 'odom', plan, qos_profile_sensor_data)
rclpy.spin(node)
"""


@pytest.mark.parametrize('frame, age, reason', [
    ('odom', 0, None), ('map', 0, "plan: refused: frame 'map': without tf2"),
    ('odom', 2, 'plan of 2.0 s ago; it takes at most plan_max_age, 0.5 s')])
def test_a_fresh_plan_is_followed_and_others_are_refused_by_name(loop, tmp_path, frame, age,
                                                                 reason):
    running = loop(world_family='open', seed='13')  # free 0.7 m about both ways
    running.wait(lambda e: e['mode'] == 'idle', 60.0, 'idle robot')
    goal, corner = (4.0, 0.0), (2.0, -3.0)
    if age:
        assert running.answer(set={'node': 'sensor', 'name': 'plan_max_age', 'value': 0.5})['ok']
    planner = subprocess.Popen(
        [sys.executable, '-c', PLANNER, frame, str(age), *map(str, (*corner, *goal))],
        env={**os.environ, **environment('local')})
    try:
        log = tmp_path / 'loop0' / 'sensor.log'
        if reason:
            running.wait(lambda e: reason in log.read_text(), 40.0, reason)
        running.observer.send(goal=list(goal))
        way = []
        running.wait(lambda e: way.append((e['x'], e['y'])) or 'goal_reached' in e['reasons'],
                     60.0, 'the goal')
    finally:
        planner.kill()
        planner.wait()
    # How far off the straight line from start to goal, in the frame of the world.
    (x, y), (gx, gy) = way[0], way[-1]
    length = ((gx - x) ** 2 + (gy - y) ** 2) ** 0.5
    off = max(abs((px - x) * (gy - y) - (py - y) * (gx - x)) / length for px, py in way)
    print(f'{frame} {age}: {off:.2f} m off the straight line')
    # The policy aims 3 m ahead along the plan, so it cuts the corner, which is 3 m off.
    assert off > 1.0 if reason is None else off < 0.5
