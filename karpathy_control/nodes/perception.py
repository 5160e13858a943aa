"""The `perception` node: observation sets in, entities, relations and the camera scan out."""

from __future__ import annotations

import sys
from typing import Any

from karpathy_control.bringup.resources import find
from karpathy_control.contracts.config import PerceptionConfig
from karpathy_control.contracts.types import Observation
from karpathy_control.nodes import convert
from karpathy_control.nodes.base import LoopNode, steady
from karpathy_control.nodes.join import StampJoin
from karpathy_control.nodes.spin import run
from karpathy_control.perception.explain import overlay
from karpathy_control.perception.runtime import PerceptionRuntime

JOIN_WAIT = 3_000_000  # ns


class PerceptionNode(LoopNode[PerceptionConfig]):
    """Shell around PerceptionRuntime."""

    NAME = 'perception'
    CONFIG = PerceptionConfig

    def build(self) -> None:
        """Load the weights, warm up, create publishers and subscriptions."""
        config = self.config
        self._runtime = PerceptionRuntime(find('weights', config.weights), config)
        self._runtime.warm_up()
        self._join = StampJoin('state', JOIN_WAIT)
        self._entered: dict[int, int] = {}
        self._extras: dict[str, float] = {}
        self._entities = self.publisher('perception/entities')
        self._relations = self.publisher('perception/relations')
        self._scan = self.publisher('perception/scan')
        self._overlay = self.publisher('perception/overlay')
        x, y = config.robot.camera_pose[:2]
        readers = {
            'image': lambda m: convert.raw_image(m).pixels,
            'depth': convert.matrix,
            'scan': convert.layout_scan,
            'imu': convert.matrix,
            'depth_points': lambda m: convert.depth_points(m, (x, y)),
            'state': convert.state,
        }
        for part, read in readers.items():
            self.listen(f'observation/{part}', self._collector(part, read))
        self._deadline = self.steady_timer(1.0, self._expire)

    def reconfigured(self) -> None:
        """Hand a live parameter change on."""
        if hasattr(self, '_runtime'):
            self._runtime.config = self.config

    def activated(self) -> None:
        """Start without history."""
        self._join.clear()
        self._runtime.reset()

    def _collector(self, part: str, read: Any) -> Any:
        def collect(message: Any, received: int) -> None:
            stamp = convert.stamp_ns(message.header)
            self._entered.setdefault(stamp, received)
            self._process(self._join.add(part, stamp, read(message), steady()))
        return collect

    def _expire(self) -> None:
        self._process(self._join.expire(steady()))

    def _process(self, sets: list[tuple[int, dict[str, Any]]]) -> None:
        for stamp, parts in sets:
            self._step(Observation(stamp, **parts))
        due = self._join.deadline
        period = 1_000_000_000 if due is None else max(due - steady(), 100_000)
        self._deadline.timer_period_ns = period
        self._deadline.reset()

    def _step(self, observation: Observation) -> None:
        stamp, base = observation.stamp, self.config.robot.base_frame
        entities = self._runtime.step(observation)
        if entities.camera_scan is not None:
            self._scan.publish(convert.layout_scan_message(entities.camera_scan, base))
        # Entities last: they are the anchor on which the policy joins.
        self._entities.publish(convert.entities_message(entities.table, stamp, base))
        self.stages.add(stamp, self._entered.pop(stamp, steady()), steady())
        for old in [s for s in self._entered if s < stamp]:
            del self._entered[old]
        self._extras = entities.extras
        if self._relations.get_subscription_count():
            self._relations.publish(
                convert.image_message(entities.relations, stamp, base, '32FC1'))
        if observation.image is not None and self._overlay.get_subscription_count():
            picture = overlay(observation.image, entities, self.config.robot.camera_pose)
            self._overlay.publish(convert.image_message(picture, stamp, base, 'rgb8'))

    def diagnostics(self) -> tuple[bool, str, dict[str, str]]:
        """Scores of the encoder and incomplete sets."""
        if not hasattr(self, '_join'):
            return False, 'not configured', {}
        values = {name: f'{value:.4g}' for name, value in self._extras.items()}
        values['sets.incomplete'] = str(self._join.incomplete)
        return self.active, 'active' if self.active else 'inactive', values


def main() -> int:
    """Run the node."""
    return run([PerceptionNode])


if __name__ == '__main__':
    sys.exit(main())
