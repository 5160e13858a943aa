"""The `base_guard` node: stops a base that would go on for ever when `cmd_vel` falls silent.

Gazebo's DiffDrive has no command timeout, so `control` could not be allowed to die there. This
process passes each command on and sends zero once `robot.command_timeout` has gone by without
one, on the steady clock. It decides nothing else.
"""

from __future__ import annotations

import sys
from typing import Any

from karpathy_control.contracts.config import BaseGuardConfig
from karpathy_control.contracts.interfaces import type_of
from karpathy_control.contracts.types import Command
from karpathy_control.nodes import convert
from karpathy_control.nodes.base import LoopNode, steady
from karpathy_control.nodes.spin import run

PERIOD = 0.02  # s, steady


class BaseGuardNode(LoopNode[BaseGuardConfig]):
    """A watchdog between `cmd_vel` and the base."""

    NAME = 'base_guard'
    CONFIG = BaseGuardConfig

    def build(self) -> None:
        """Create the way through and the watchdog."""
        kind = type_of('cmd_vel', self.config.stamped_cmd_vel)
        self._out = self.plain_publisher('base/cmd_vel', kind)
        self._heard = 0
        self._trips = 0
        self._silent = True
        self.listen('cmd_vel', self._on_command, type_name=kind)
        self.steady_timer(PERIOD, self._watch)

    def deactivated(self) -> None:
        """Leave the base at zero."""
        self._stop()

    def _on_command(self, message: Any, received: int) -> None:
        convert.command(message)  # refuses what is not finite: silence then stops the base
        self._heard, self._silent = received, False
        self._out.publish(message)

    def _watch(self) -> None:
        if steady() - self._heard <= self.config.robot.command_timeout * 1e9:
            return
        self._trips += not self._silent
        self._silent = True
        self._stop()

    def _stop(self) -> None:
        self._out.publish(convert.twist_message(
            Command(), self.now(), self.config.robot.base_frame, self.config.stamped_cmd_vel))

    def diagnostics(self) -> tuple[bool, str, dict[str, str]]:
        """Whether commands come, and how often they stopped coming."""
        if not hasattr(self, '_out'):
            return False, 'not configured', {}
        summary = 'no command: holding zero' if self._silent else 'passing commands on'
        return not self._silent, summary, {'trips': str(self._trips)}


def main() -> int:
    """Run the node."""
    return run([BaseGuardNode])


if __name__ == '__main__':
    sys.exit(main())
