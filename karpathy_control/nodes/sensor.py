"""The `sensor` node: raw sensor topics in, one time-aligned observation set out."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import numpy as np

from karpathy_control.bringup.environment import LIFE
from karpathy_control.contracts.config import SensorConfig
from karpathy_control.contracts.geometry import rotation_rpy
from karpathy_control.contracts.interfaces import TOPICS
from karpathy_control.contracts.types import Observation, State
from karpathy_control.nodes import clouds, convert
from karpathy_control.nodes.base import LoopNode, steady
from karpathy_control.nodes.frames import FrameResolver
from karpathy_control.nodes.spin import run
from karpathy_control.sensing.pipeline import SensorPipeline

HEARING = 6.0  # s after which a successor has heard whoever talks
IDLE_PERIOD = 0.02  # s: how often a set may fall due with no message arriving at all


class SensorNode(LoopNode[SensorConfig]):
    """Shell around SensorPipeline."""

    NAME = 'sensor'
    CONFIG = SensorConfig

    def build(self) -> None:
        """Create pipeline, publishers and subscriptions."""
        robot = self.config.robot
        self._pipeline = SensorPipeline(self.config)
        self._pipeline.warm_up()
        self._state: State | None = None
        self._frames = FrameResolver(self, robot.odom_frame, robot.base_frame)
        self._imu_rotation = rotation_rpy(*robot.imu_pose[3:])
        self._entered: dict[int, int] = {}
        self._outputs = {name: self.publisher(f'observation/{name}') for name in (
            'image', 'depth', 'scan', 'depth_points', 'imu', 'goal', 'plan', 'state')}
        self.listen('camera/image_raw', self._on_image)
        self.listen('camera/camera_info', self._on_camera_info)
        self.listen('camera/depth', self._on_depth)
        self.listen('scan', self._on_scan)
        self.listen('imu', self._on_imu)
        self.listen('odom', self._on_odom)
        self.listen('control/goal', self._on_goal, always=True)
        self.listen('plan', self._on_plan, always=True)
        self._deadline = self.steady_timer(IDLE_PERIOD, self._release)
        if int(os.environ.get(LIFE, '0')) > 0:
            self.steady_timer(HEARING, self._check_hearing)

    def reconfigured(self) -> None:
        """Hand a live parameter change on."""
        if hasattr(self, '_pipeline'):
            self._pipeline.configure(self.config)

    def _on_image(self, message: Any, received: int) -> None:
        image = convert.raw_image(message)
        self._entered[image.stamp] = received
        self._report('camera/image_raw', self._pipeline.on_image(image, received))
        self._release()

    def _on_camera_info(self, message: Any, received: int) -> None:
        model = convert.camera_model(message)
        self._report('camera/camera_info', self._pipeline.on_camera_model(model))

    def _on_depth(self, message: Any, received: int) -> None:
        depth = convert.raw_depth(message)
        self._report('camera/depth', self._pipeline.on_depth(depth, received))
        self._release()

    def _on_scan(self, message: Any, received: int) -> None:
        scan = convert.raw_scan(message)
        self._entered.setdefault(scan.stamp, received)
        self._report('scan', self._pipeline.on_scan(scan, received))
        self._release()

    def _on_imu(self, message: Any, received: int) -> None:
        sample = convert.imu_sample(message, self._imu_rotation)
        self._report('imu', self._pipeline.on_imu(sample, received))

    def _on_odom(self, message: Any, received: int) -> None:
        self._state = convert.state(message)
        self._report('odom', self._pipeline.on_odom(self._state, received))
        self._release()

    def _on_goal(self, message: Any, received: int) -> None:
        has_goal = bool(message.header.frame_id)
        self._pipeline.on_goal(convert.position(message) if has_goal else None)

    def _on_plan(self, message: Any, received: int) -> None:
        points = convert.path_points(message)
        if len(points) == 0:
            self._pipeline.on_plan(None)
            return
        odom = self._frames.to_odom(points, message.header.frame_id, self._state)
        self._pipeline.on_plan(odom.astype(np.float32))

    def _check_hearing(self) -> None:
        """End, to be started again, where some sensors are heard and others that talk never were.

        Now and then a writer in shared memory goes on to know nothing of the successor of a reader
        that was killed (doc/soak.md). Only successors look: a driver may advertise long before it
        sends, and that is no reason to start over.
        """
        raw = [row.name for row in TOPICS if row.writer == 'sim' and self.NAME in row.readers
               and not row.name.startswith('/')]
        deaf = [name for name in raw if name not in self.heard and self.writers(name)]
        if self.active and deaf and self.heard & set(raw):
            self.get_logger().error(f'never heard {", ".join(deaf)}, which is published; starting '
                                    'again')
            os.kill(os.getpid(), signal.SIGTERM)

    def _report(self, source: str, problem: str | None) -> None:
        if problem is not None:
            self.on_invalid(source, problem)

    def _release(self) -> None:
        if not self.active:
            return
        for observation in self._pipeline.release(self.now(), steady()):
            self._publish(observation)
        due = self._pipeline.next_deadline()
        period = IDLE_PERIOD if due is None else max((due - steady()) * 1e-9, 1e-4)
        self._deadline.timer_period_ns = int(min(period, IDLE_PERIOD) * 1e9)
        self._deadline.reset()

    def _publish(self, o: Observation) -> None:
        """Publish one set; the state goes last, as the anchor on which consumers join."""
        base, odom, out = self.config.robot.base_frame, self.config.robot.odom_frame, self._outputs
        if o.image is not None:
            out['image'].publish(convert.image_message(o.image, o.stamp, base, 'rgb8'))
        if o.depth is not None:
            out['depth'].publish(convert.image_message(o.depth, o.stamp, base, '32FC1'))
        if o.scan is not None:
            out['scan'].publish(convert.layout_scan_message(o.scan, base))
        if o.depth_points is not None:
            out['depth_points'].publish(clouds.depth_points_message(o.depth_points, base))
        if o.imu is not None:
            out['imu'].publish(convert.image_message(o.imu, o.stamp, base, '32FC1'))
        if o.plan is not None:
            out['plan'].publish(convert.path_message(o.plan, o.stamp, odom))
        x, y = o.goal if o.goal is not None else (0.0, 0.0)
        out['goal'].publish(convert.pose_message(x, y, o.stamp, base if o.goal else ''))
        out['state'].publish(convert.odometry_message(o.state, odom, base))
        self.stages.add(o.stamp, self._entered.pop(o.stamp, steady()), steady())
        for stamp in [s for s in self._entered if s < o.stamp]:
            del self._entered[stamp]

    def diagnostics(self) -> tuple[bool, str, dict[str, str]]:
        """Counts of released and dropped sets."""
        if not hasattr(self, '_pipeline'):
            return False, 'not configured', {}
        counts = {f'sets.{name}': str(n) for name, n in self._pipeline.counts.items()}
        if self._pipeline.frozen:
            what = ', '.join(self._pipeline.frozen)
            return False, f'camera left out: {what} frozen', {**counts, 'frozen': what}
        return self.active, 'active' if self.active else 'inactive', counts


def main() -> int:
    """Run the node."""
    return run([SensorNode])


if __name__ == '__main__':
    sys.exit(main())
