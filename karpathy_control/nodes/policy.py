"""The `policy` node: observation and entities in, one proposed command out."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from karpathy_control.bringup.resources import find
from karpathy_control.contracts.config import PolicyConfig
from karpathy_control.contracts.types import NANOSECONDS, Action, Entities, Observation
from karpathy_control.nodes import clouds, convert
from karpathy_control.nodes.base import steady
from karpathy_control.nodes.join import AnchorChoice
from karpathy_control.nodes.joined import JoinedNode
from karpathy_control.nodes.journaling import SEND_PERIOD, NodeJournal, weights_sha256
from karpathy_control.nodes.spin import run
from karpathy_control.policy.runtime import PolicyRuntime

COSTMAP_PERIOD = 1.0  # s
NO_RELATIONS = np.zeros((0, 0), np.float32)  # they are for people; the policy reads the table


PARTS: dict[str, tuple[str, Callable[[Any], Any]]] = {  # part -> topic and how it is read
    'scan': ('observation/scan', convert.layout_scan),
    'state': ('observation/state', convert.state),
    'goal': ('observation/goal', lambda m: convert.position(m) if m.header.frame_id else None),
    'plan': ('observation/plan', convert.path_points),
    'camera_scan': ('perception/scan', convert.layout_scan),
    'entities': ('perception/entities', lambda m: Entities(
        convert.stamp_ns(m.header), clouds.entities_table(m), NO_RELATIONS,
        unsure=clouds.unsure(m))),
}


def decide(runtime: PolicyRuntime, stamp: int, parts: dict[str, Any], late: bool | None = None
           ) -> Action | None:
    """The action on one set, see PolicyRuntime.step; None without a state to act on."""
    if 'state' not in parts:
        return None
    entities = parts.get('entities')
    if entities is not None:
        entities = replace(entities, camera_scan=parts.get('camera_scan'))
    return runtime.step(Observation(
        stamp, parts['state'], scan=parts.get('scan'), goal=parts.get('goal'),
        plan=parts.get('plan')), entities, late)


def action_messages(a: Action, config: PolicyConfig) -> dict[str, Callable[[], Any]]:
    """What is published of an action, by the last part of the topic; made when called for."""
    base, odom = config.robot.base_frame, config.robot.odom_frame
    made: dict[str, Callable[[], Any]] = {
        'action': lambda: convert.twist_message(a.command, a.stamp, base, stamped=True)}
    path = a.path
    if path is not None:
        made['path'] = lambda: convert.path_message(path, a.stamp, odom)
    return made


class PolicyNode(JoinedNode[PolicyConfig]):
    """Shell around PolicyRuntime."""

    NAME = 'policy'
    CONFIG = PolicyConfig

    def build(self) -> None:
        """Load the weights, warm up, create publishers and subscriptions."""
        weights = find('weights', self.config.weights)
        self._runtime = PolicyRuntime(weights, self.config)
        self._runtime.warm_up()
        self.journal = NodeJournal(self, weights_sha256(weights), behind=2.0 * SEND_PERIOD)
        self._stamp, self._value = 0, math.nan
        self._action = self.publisher('policy/action')
        self._path = self.publisher('policy/path')
        self._costmap = self.publisher('policy/costmap')
        self._choice = AnchorChoice('entities', 'state', self._window())
        self.join('entities', PARTS)
        self.steady_timer(COSTMAP_PERIOD, self._publish_costmap)

    def reconfigured(self) -> None:
        """Hand a live parameter change on."""
        if hasattr(self, '_runtime'):
            self._runtime.configure(self.config)
            self._choice.window = self._window()

    def _window(self) -> int:
        return round(self.config.fallback_after * NANOSECONDS)

    def activated(self) -> None:
        """Start without memory."""
        super().activated()
        self._runtime.reset()
        self._choice.clear()
        assert self.journal is not None
        self.journal.add('reset')

    def ended_by(self, part: str, stamp: int, received: int) -> str:
        """Entities end a set; the state does while perception is silent or slow."""
        return self._choice.see(part, stamp, received)

    def on_set(self, stamp: int, parts: dict[str, Any], received: int) -> None:
        """Decide on one observation and publish the proposal."""
        action = decide(self._runtime, stamp, parts)
        if action is None:
            return  # control sees the action age
        assert self.journal is not None
        self.journal.add('set', stamp, sorted(parts), self._runtime.was_late)
        messages = action_messages(action, self.config)
        self._action.publish(messages['action']())
        self.stages.add(stamp, received, steady())
        self._stamp, self._value = stamp, action.value
        if 'path' in messages and self._path.get_subscription_count():
            self._path.publish(messages['path']())
        self.journal.after_set(stamp, self._runtime.state)

    def _publish_costmap(self) -> None:
        if self.active and self._stamp and self._costmap.get_subscription_count():
            cells, x, y, cell = self._runtime.costmap()
            self._costmap.publish(convert.grid_message(
                cells, (x, y), cell, self._stamp, self.config.robot.odom_frame))

    def diagnostics(self) -> tuple[bool, str, dict[str, str]]:
        """The critic's value and the state of the deliberation."""
        healthy, summary, values = super().diagnostics()
        if not hasattr(self, '_runtime'):
            return healthy, summary, values
        return healthy, summary, {**values, 'value': f'{self._value:.4g}',
                                  'deliberation.late': str(self._runtime.late),
                                  'sets.ended_by': self._choice.chosen}


def main() -> int:
    """Run the node."""
    return run([PolicyNode])


if __name__ == '__main__':
    sys.exit(main())
