"""The `sensor` node: raw sensor topics in, one time-aligned observation set out."""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from typing import Any

from karpathy_control.bringup.environment import LIFE
from karpathy_control.contracts.config import SensorConfig
from karpathy_control.contracts.interfaces import TOPICS
from karpathy_control.contracts.types import Observation
from karpathy_control.nodes import convert
from karpathy_control.nodes.base import LoopNode, steady
from karpathy_control.nodes.frames import FrameResolver
from karpathy_control.nodes.intake import PARTS, Intake, observation_messages
from karpathy_control.nodes.journaling import NodeJournal
from karpathy_control.nodes.spin import run
from karpathy_control.sensing.pipeline import SensorPipeline

HEARING = 6.0  # s after which a successor has heard whoever talks
ALWAYS = ('control/goal', 'plan')  # heard while inactive, too
REFERENCES = ('camera/image_raw', 'scan')
RELEASING = (*REFERENCES, 'camera/depth', 'odom')  # after which a set may be complete
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
        frames = FrameResolver(self, robot.odom_frame, robot.base_frame)
        self._intake = Intake(self._pipeline, self.config, frames.to_odom)
        self.journal = NodeJournal(self)
        self._entered: dict[int, int] = {}
        self._outputs = {name: self.publisher(f'observation/{name}') for name in PARTS}
        for name in self._intake.topics:
            self.listen(name, partial(self._on_message, name), always=name in ALWAYS)
        self._deadline = self.steady_timer(IDLE_PERIOD, self._release)
        if int(os.environ.get(LIFE, '0')) > 0:
            self.steady_timer(HEARING, self._check_hearing)

    def reconfigured(self) -> None:
        """Hand a live parameter change on."""
        if hasattr(self, '_pipeline'):
            self._pipeline.configure(self.config)

    def _on_message(self, name: str, message: Any, received: int) -> None:
        stamp = convert.stamp_ns(message.header)
        assert self.journal is not None
        self.journal.add('message', name, stamp, received)
        problem = self._intake.take(name, message, received)
        if name in REFERENCES:
            self._entered.setdefault(stamp, received)
        if problem is not None:
            self.on_invalid(name, problem)
        if name in RELEASING:
            self._release()

    def _check_hearing(self) -> None:
        """End, to be started again, where some sensors are heard and others that talk never were.

        Now and then a writer in shared memory goes on to know nothing of the successor of a reader
        that was killed (doc/soak.md). Only successors look: a driver may advertise long before it
        sends, and that is no reason to start over.
        """
        raw = [row.name for row in TOPICS if row.writer == 'sim' and self.NAME in row.readers
               and row.name in self._intake.topics]
        deaf = [name for name in raw if name not in self.heard and self.writers(name)]
        if self.active and deaf and self.heard & set(raw):
            self.get_logger().error(f'never heard {", ".join(deaf)}, which is published; starting '
                                    'again')
            os.kill(os.getpid(), signal.SIGTERM)

    def _release(self) -> None:
        if not self.active:
            return
        now, at = self.now(), steady()
        assert self.journal is not None
        self.journal.add('release', now, at)
        for observation in self._pipeline.release(now, at):
            self._publish(observation)
        self.journal.after_set(now, self._pipeline.state if self._pipeline.idle else None)
        due = self._pipeline.next_deadline()
        period = IDLE_PERIOD if due is None else max((due - steady()) * 1e-9, 1e-4)
        self._deadline.timer_period_ns = int(min(period, IDLE_PERIOD) * 1e9)
        self._deadline.reset()

    def _publish(self, o: Observation) -> None:
        """Publish one set; the state goes last, as the anchor on which consumers join."""
        for part, message in observation_messages(o, self.config).items():
            self._outputs[part].publish(message)
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
