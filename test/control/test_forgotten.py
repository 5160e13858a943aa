"""A robot that has forgotten everything goes on where it sees, and nowhere else."""

import math

import numpy as np
import pytest

from karpathy_control.contracts.config import ControlConfig
from karpathy_control.control.gate import Gate

BEAMS = 541  # of half a degree: 270 degrees, blind behind


def drive(wish, yaw, seconds):
    """Forget, then drive by `wish` in open space; where it ends, seen from where it began."""
    gate = Gate(ControlConfig())
    gate.forget(0, disc=False)
    pose, command = np.array([0.3, 0.2, yaw]), np.zeros(2)
    ahead = aside = 0.0
    for k in range(round(seconds / 0.02)):
        if k % 2 == 0:
            gate.observe_scan([pose], np.full((1, BEAMS), np.inf), -0.75 * math.pi,
                              math.pi / 360.0, (0.055, 0.0, 0.0), 0.1, 10.0, 0.02 * k)
        command = gate.filter([pose], [command], [wish], 0.02 * k).applied[0]
        step = 0.02 * command[0]
        pose += np.array((step * math.cos(pose[2]), step * math.sin(pose[2]), 0.02 * command[1]))
        ahead += step * math.cos(pose[2] - yaw)
        aside += step * math.sin(pose[2] - yaw)
    return ahead, aside


@pytest.mark.parametrize('yaw', np.linspace(-3.0, 3.0, 13))
def test_straight_on_into_what_it_sees_but_not_back(yaw):
    ahead, aside = drive((0.5, 0.0), yaw, 4.0)
    assert ahead > 1.0 and abs(aside) < 0.2
    ahead, aside = drive((-0.3, 0.0), yaw, 4.0)
    assert math.hypot(ahead, aside) < 0.08  # the cells that the outline touches reach 7 cm
