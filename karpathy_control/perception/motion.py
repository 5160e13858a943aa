"""What the past second of a tracked thing says of its next ones: turn, gain of speed, how surely.

A small network on the track's own history, learned in worlds with things that go their ways
(learning.motion). Straight on with a constant spread where there is no network.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from karpathy_control.contracts.card import WeightsError, verify_weights
from karpathy_control.mapping.jit import kernel
from karpathy_control.mapping.motion import PLAIN_SPREAD

STEPS, STEP = 10, 0.1  # the history is looked at this many times, every so many s
OFF = 0.03  # s that a look may be off
FEATURES = 5 * STEPS + 4
OUTPUTS = 3
FASTEST_TURN = 3.0  # rad/s
HARDEST = 3.0  # m/s^2, of the speed that a thing gains or loses
LAYERS = ('0', '2', '4')  # of the training network, in its state_dict


class Network(NamedTuple):
    """A perceptron with two hidden layers, its inputs normalised. Sizes 0: there is none."""

    mean: NDArray[np.float32]  # (FEATURES,)
    scale: NDArray[np.float32]  # (FEATURES,)
    w1: NDArray[np.float32]  # (h, FEATURES)
    b1: NDArray[np.float32]  # (h,)
    w2: NDArray[np.float32]  # (h, h)
    b2: NDArray[np.float32]  # (h,)
    w3: NDArray[np.float32]  # (OUTPUTS, h)
    b3: NDArray[np.float32]  # (OUTPUTS,)


def no_network() -> Network:
    """Things go straight on."""
    line, square = np.zeros(0, np.float32), np.zeros((0, 0), np.float32)
    return Network(line, line, square, line, square, line, square, line)


def load_network(path: Path) -> Network:
    """Read and check a weight file; WeightsError names what does not fit."""
    hidden = verify_weights(path, 'motion').model.get('hidden')
    try:
        tensors = load_file(path)
        network = Network(tensors['mean'], tensors['scale'], *(
            tensors[f'{layer}.{part}'] for layer in LAYERS for part in ('weight', 'bias')))
    except (SafetensorError, OSError, KeyError) as error:
        raise WeightsError(f'weights {path}: not readable ({error}); make them with: '
                           'karpathy-control train motion') from error
    shapes = [tuple(array.shape) for array in network]
    needed = [(FEATURES,), (FEATURES,), (hidden, FEATURES), (hidden,), (hidden, hidden),
              (hidden,), (OUTPUTS, hidden), (OUTPUTS,)]
    if shapes != needed or not all(np.isfinite(array).all() for array in network):
        raise WeightsError(f'weights {path}: shapes are {shapes}, needed are {needed}, all '
                           'finite; make them with: karpathy-control train motion')
    return Network(*(np.ascontiguousarray(array, np.float32) for array in network))


@kernel
def describe(history, times, now, radius, looks, spread, out):
    """What the network sees of one track, in out (FEATURES,), in the axes of its velocity.

    history: (n, 4) x y vx vy in odom (m and m/s) at times (n,) s, the present first; NaN where it
    was not tracked yet. For looks STEP, 2 STEP, ... back: how far it was off the line that it
    would have come along with its present velocity, how its velocity differed, and whether there
    was one. Then speed (m/s), radius (m), looks, and the spread of its velocity (m/s).
    """
    x, y, vx, vy = history[0]
    speed = math.sqrt(vx * vx + vy * vy)
    c, s = (vx / speed, vy / speed) if speed > 1e-6 else (1.0, 0.0)
    out[:] = 0.0
    k = 0
    for i in range(STEPS):
        age = (i + 1) * STEP
        while k + 1 < history.shape[0] and now - times[k] < age - OFF:
            k += 1
        real = now - times[k]
        if abs(real - age) > OFF or math.isnan(history[k, 0]):
            continue
        dx, dy = history[k, 0] - x + vx * real, history[k, 1] - y + vy * real
        ux, uy = history[k, 2] - vx, history[k, 3] - vy
        out[5 * i] = c * dx + s * dy
        out[5 * i + 1] = c * dy - s * dx
        out[5 * i + 2] = c * ux + s * uy
        out[5 * i + 3] = c * uy - s * ux
        out[5 * i + 4] = 1.0
    out[5 * STEPS] = speed
    out[5 * STEPS + 1] = radius
    out[5 * STEPS + 2] = min(looks, 40.0) / 20.0
    out[5 * STEPS + 3] = spread


@kernel
def _layer(weight, bias, inputs, hidden):
    out = np.empty(weight.shape[0], np.float32)
    for i in range(weight.shape[0]):
        total = bias[i]
        for j in range(weight.shape[1]):
            total += weight[i, j] * inputs[j]
        out[i] = max(total, np.float32(0.0)) if hidden else total
    return out


@kernel
def forecast(network, features):
    """Turn rate (rad/s, to the left), spread (m/s) and gain (m/s^2) of what was described."""
    if network.mean.shape[0] == 0:
        return 0.0, PLAIN_SPREAD, 0.0
    h = _layer(network.w1, network.b1, (features - network.mean) / network.scale, True)
    out = _layer(network.w3, network.b3, _layer(network.w2, network.b2, h, True), False)
    turn = min(max(float(out[0]), -FASTEST_TURN), FASTEST_TURN)
    gain = min(max(float(out[2]), -HARDEST), HARDEST)
    return turn, math.log1p(math.exp(min(float(out[1]), 30.0))), gain
