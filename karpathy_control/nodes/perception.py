"""The `perception` node: observation sets in, entities, relations and the camera scan out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from karpathy_control.bringup.resources import find
from karpathy_control.contracts.config import PerceptionConfig
from karpathy_control.contracts.types import Entities, Observation
from karpathy_control.nodes import clouds, convert
from karpathy_control.nodes.base import steady
from karpathy_control.nodes.joined import JoinedNode
from karpathy_control.nodes.journaling import SEND_PERIOD, NodeJournal, weights_sha256
from karpathy_control.nodes.spin import run
from karpathy_control.perception.explain import overlay
from karpathy_control.perception.motion import load_network
from karpathy_control.perception.runtime import PerceptionRuntime


def readers(config: PerceptionConfig) -> dict[str, Callable[[Any], Any]]:
    """How each part of a set is read from its message."""
    x, y = config.robot.camera_pose[:2]
    return {
        'image': convert.layout_image,
        'depth': lambda m: convert.matrix(m, convert.IMAGE_SHAPE),
        'scan': convert.layout_scan,
        'imu': lambda m: convert.matrix(m, convert.IMU_SHAPE),
        'depth_points': lambda m: clouds.depth_points(m, (x, y)),
        'state': convert.state,
    }


def entities_messages(e: Entities, base: str) -> dict[str, Any]:
    """What the policy and the gate hear, by the last part of the topic: `scan` and `entities`."""
    scan = {} if e.camera_scan is None else {
        'scan': convert.layout_scan_message(e.camera_scan, base)}
    return {**scan, 'entities': clouds.entities_message(e.table, e.stamp, base, e.unsure)}


def relations_message(e: Entities, base: str) -> Any:
    """The relation matrix."""
    return convert.image_message(e.relations, e.stamp, base, '32FC1')


class PerceptionNode(JoinedNode[PerceptionConfig]):
    """Shell around PerceptionRuntime."""

    NAME = 'perception'
    CONFIG = PerceptionConfig

    def build(self) -> None:
        """Load the weights, warm up, create publishers and subscriptions."""
        config = self.config
        weights = find('weights', config.weights)
        motion = find('weights', config.motion_weights)
        self._runtime = PerceptionRuntime(weights, config, load_network(motion))
        self._runtime.warm_up()
        self.journal = NodeJournal(self, weights_sha256(weights, motion), behind=SEND_PERIOD)
        if self._runtime.novelty.problem:  # it drives on, but nothing strange is noticed
            self.get_logger().warning(f'no out-of-distribution score: '
                                      f'{self._runtime.novelty.problem}')
        self._extras: dict[str, float] = {}
        self._entities = self.publisher('perception/entities')
        self._relations = self.publisher('perception/relations')
        self._scan = self.publisher('perception/scan')
        self._overlay = self.publisher('perception/overlay')
        self.join('state', {part: (f'observation/{part}', read)
                            for part, read in readers(config).items()})

    def reconfigured(self) -> None:
        """Hand a live parameter change on."""
        if hasattr(self, '_runtime'):
            self._runtime.config = self.config

    def activated(self) -> None:
        """Start without history."""
        super().activated()
        self._runtime.reset()
        assert self.journal is not None
        self.journal.add('reset')

    def on_set(self, stamp: int, parts: dict[str, Any], received: int) -> None:
        """Encode one observation and publish what it means."""
        observation, base = Observation(stamp, **parts), self.config.robot.base_frame
        assert self.journal is not None
        self.journal.add('set', stamp, sorted(parts), False)
        entities = self._runtime.step(observation)
        messages = entities_messages(entities, base)
        if 'scan' in messages:
            self._scan.publish(messages['scan'])
        # Entities last: they are the anchor on which the policy joins.
        self._entities.publish(messages['entities'])
        self.stages.add(stamp, received, steady())
        self._extras = entities.extras
        if self._relations.get_subscription_count():
            self._relations.publish(relations_message(entities, base))
        if observation.image is not None and self._overlay.get_subscription_count():
            picture = overlay(observation.image, entities, self.config.robot.camera_pose)
            self._overlay.publish(convert.image_message(picture, stamp, base, 'rgb8'))
        self.journal.after_set(stamp, self._runtime.state)

    def diagnostics(self) -> tuple[bool, str, dict[str, str]]:
        """Scores of the encoder and incomplete sets; why there is no score where there is none."""
        healthy, summary, values = super().diagnostics()
        if not hasattr(self, '_extras'):
            return healthy, summary, values
        values |= {name: f'{value:.4g}' for name, value in self._extras.items()}
        problem = self._runtime.novelty.problem
        if problem and healthy:
            return False, 'active without an out-of-distribution score', {
                **values, 'ood_problem': problem}
        return healthy, summary, values


def main() -> int:
    """Run the node."""
    return run([PerceptionNode])


if __name__ == '__main__':
    sys.exit(main())
