"""Scans of few beams for the tests of the lidar layer in plain Python."""

import math

import numpy as np
from scenes import FOOTPRINT, RULES, is_untouched, memory_of, obstacles

from karpathy_control.control.lidar_layer import scan_one

QUARTER = math.pi / 2
NEAR, FAR = 0.1, 3.0  # m, of the sensor
NAN, INF = math.nan, math.inf
UNDER = {(i, j) for i in (-1, 0) for j in (-1, 0)}  # the cells under the square of 0.25 m


def with_beams(n):
    return memory_of()._replace(scan=np.full((2, n, 2), np.nan, np.float32))


def scan(memory, ranges, pose=(0.0, 0.0, 0.0), first=0.0, increment=QUARTER,
         sensor=(0.0, 0.0, 0.0), time=0.0, rules=RULES, far=FAR):
    """Show robot 1 a scan; robot 0 gets another one that must not matter."""
    both = np.array([np.full(len(ranges), 0.4), ranges], np.float32)
    scan_one(1, memory, rules, FOOTPRINT, np.array([(9.0, 9.0, 9.0), pose]), both, first,
             increment, sensor, NEAR, far, np.array([77.0, time]))
    assert is_untouched(memory)


def points(memory):
    return {(round(x, 4), round(y, 4)) for x, y in obstacles(memory, 1, 'lidar')[:, :2].tolist()}
