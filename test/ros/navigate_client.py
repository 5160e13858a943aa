"""A client of NavigateToPose that does what lines of JSON say, and tells what it hears.

In: {"id": 1, "x": 2.0, "y": 0.0} with optional "frame", "tree"; {"cancel": 1}.
Out: `accepted` (with ok), `feedback`, `cancelling` (with ok) and `result` of an id.
"""

import json
import queue
import sys
import threading

import rclpy
from nav2_msgs.action import NavigateToPose
from rclpy.action import ActionClient

commands, handles = queue.Queue(), {}


def say(event, number, **values):
    print(json.dumps({'event': event, 'id': number, **values}), flush=True)


def seconds(duration):
    return duration.sec + 1e-9 * duration.nanosec


def send(client, number, x, y, frame='odom', tree=''):
    goal = NavigateToPose.Goal()
    goal.pose.header.frame_id = frame
    goal.pose.pose.position.x, goal.pose.pose.position.y = float(x), float(y)
    goal.pose.pose.orientation.w = 1.0
    goal.behavior_tree = tree

    def feedback(message):
        f = message.feedback
        say('feedback', number, distance=f.distance_remaining, time=seconds(f.navigation_time),
            left=seconds(f.estimated_time_remaining), frame=f.current_pose.header.frame_id,
            x=f.current_pose.pose.position.x)

    def result(future):
        answer = future.result()
        say('result', number, status=answer.status, code=answer.result.error_code,
            text=answer.result.error_msg)

    def accepted(future):
        handle = handles[number] = future.result()
        say('accepted', number, ok=handle.accepted)
        if handle.accepted:
            handle.get_result_async().add_done_callback(result)

    client.send_goal_async(goal, feedback).add_done_callback(accepted)


def cancel(number):
    handles[number].cancel_goal_async().add_done_callback(
        lambda f: say('cancelling', number, ok=bool(f.result().goals_canceling)))


def obey(client):
    while not commands.empty():
        command = commands.get()
        if 'cancel' in command:
            cancel(command['cancel'])
        else:
            send(client, command.pop('id'), **command)


def main():
    rclpy.init()
    node = rclpy.create_node('navigator')
    client = ActionClient(node, NavigateToPose, 'navigate_to_pose')
    assert client.wait_for_server(60.0)
    say('ready', 0)
    threading.Thread(target=lambda: [commands.put(json.loads(line)) for line in sys.stdin],
                     daemon=True).start()
    node.create_timer(0.02, lambda: obey(client))
    rclpy.spin(node)


main()
