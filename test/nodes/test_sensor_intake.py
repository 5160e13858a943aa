"""What the `sensor` node listens to."""

from karpathy_control.contracts.config import SensorConfig, from_mapping
from karpathy_control.nodes.intake import Intake
from karpathy_control.sensing.pipeline import SensorPipeline


def test_of_a_robot_without_camera_nobody_waits_for_one():
    def topics(**robot):
        config = from_mapping(SensorConfig, {f'robot.{k}': v for k, v in robot.items()})
        return set(Intake(SensorPipeline(config), config, lambda *_: None).topics)

    camera = {'camera/image_raw', 'camera/camera_info', 'camera/depth'}
    assert topics() - topics(camera_rate=0.0) == camera
    assert {'scan', 'odom', 'imu'} <= topics(camera_rate=0.0)
