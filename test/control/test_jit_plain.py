"""Compiled and plain Python give the same answers: whole gate steps over random scenes."""

import json
import os
import subprocess
import sys

import numba
import numpy as np
import pytest

PROGRAM = '''
import json, math, sys
import numpy as np
from karpathy_control.contracts.config import ControlConfig, from_mapping
from karpathy_control.control.gate import Gate
from karpathy_control.control.memory import EMPTY

SCENES = [
    {},
    {'gate.obstacle_speed': 0.4, 'gate.occlusion': True},
    {'gate.drift_per_metre': 0.05, 'gate.drift_per_radian': 0.05, 'gate.memory_time': 0.6},
    {'robot.max_curvature': 2.0, 'robot.max_lateral_acceleration': 0.4, 'gate.margin': 0.06},
]

def scene(seed, changes):
    rng = np.random.default_rng(seed)
    gate = Gate(from_mapping(ControlConfig, {'gate.speed_steps': 5, 'gate.turn_steps': 5,
                                             **changes}), 2, 64)
    gate.fence(rng.uniform(-2, 2, (3, 2)) * 0.4 + [1.4, 0.0])
    beams, step = 40, 2 * math.pi / 40
    pose, command, out = np.zeros((2, 3)), np.zeros((2, 2)), []
    pose[:, 2] = rng.uniform(-3, 3, 2)
    for k in range(10):
        time = 0.05 * k + np.array([0.0, 1e9])
        ranges = rng.uniform(0.6, 2.5, (2, beams))
        ranges[rng.random((2, beams)) < 0.5] = np.inf
        ranges[rng.random((2, beams)) < 0.1] = np.nan
        ranges[rng.random((2, beams)) < 0.02] = -np.inf
        if k % 5 == 4:
            ranges[:, 18:23] = 0.3  # close before the bumper, out of nothing
        gate.observe_scan(pose, ranges, -math.pi, step, (0.05, 0.0, 0.1), 0.1, 9.0, time)
        gate.observe_depth(pose, rng.uniform((0.3, -1), (2.5, 1), (2, 12, 2)),
                           rng.integers(0, 2, (2, 12)), 12, (0.19, 0.0), time)
        camera = np.where(rng.random((2, 36)) < 0.05, rng.uniform(0.8, 2.0, (2, 36)), np.nan)
        gate.observe_camera_scan(pose, camera, time)
        wish = rng.uniform((-0.3, -1.5), (1.2, 1.5), (2, 2))
        result = gate.filter(pose, command, wish, time, None if k % 3 else 0.6)
        command = result.applied
        pose = pose + 0.05 * np.stack((command[:, 0] * np.cos(pose[:, 2]),
                                       command[:, 0] * np.sin(pose[:, 2]), command[:, 1]), 1)
        out.append([result.applied.tolist(), result.status.tolist(),
                    result.clearance.tolist()])
    m = gate._memory
    known = [(getattr(m, name) > EMPTY).sum(axis=(1, 2)).tolist()
             for name in ('lidar_seen', 'camera_seen', 'free_seen')]
    return out, known, m.travel_total.tolist()

print(json.dumps([scene(10 * i + j, changes) for i, changes in enumerate(SCENES)
                  for j in range(3)]))
'''


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason='needs the compiled kernels')
def test_compiled_and_plain_python_agree():
    answers = []
    for plain in ('0', '1'):
        done = subprocess.run([sys.executable, '-W', 'ignore', '-c', PROGRAM], check=True,
                              capture_output=True, text=True,
                              env={**os.environ, 'NUMBA_DISABLE_JIT': plain})
        answers.append(json.loads(done.stdout))
    seen = set()
    for compiled, plain in zip(*answers, strict=True):
        for one, other in zip(compiled[0], plain[0], strict=True):
            np.testing.assert_allclose(one[0], other[0], rtol=0.0, atol=1e-9)
            assert one[1] == other[1]
            np.testing.assert_allclose(one[2], other[2], rtol=0.0, atol=1e-9)
            seen |= set(one[1])
        assert compiled[1] == plain[1]  # as many cells are known
        np.testing.assert_allclose(compiled[2], plain[2], rtol=0.0, atol=1e-9)
    assert seen == {0, 1, 2, 3}  # every kind of answer occurs
