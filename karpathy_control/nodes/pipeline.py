"""Sensor, perception and policy composed into one process; the gate always has its own.

Remap with `sensor:__node:=NAME`, never a bare `__node:=`, which would rename all three.
"""

from __future__ import annotations

import sys

from karpathy_control.nodes.perception import PerceptionNode
from karpathy_control.nodes.policy import PolicyNode
from karpathy_control.nodes.sensor import SensorNode
from karpathy_control.nodes.spin import run


def main() -> int:
    """Run the three nodes on one executor."""
    return run([SensorNode, PerceptionNode, PolicyNode])


if __name__ == '__main__':
    sys.exit(main())
