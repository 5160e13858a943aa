"""Parameters of the `perception` node."""

from __future__ import annotations

from dataclasses import dataclass

from karpathy_control.contracts.config.core import group, parameter
from karpathy_control.contracts.config.robot import RobotConfig


@dataclass(frozen=True)
class PerceptionConfig:
    """Where and how the encoder runs."""

    autostart: bool = parameter(True, 'configure and activate without a manager')
    robot: RobotConfig = group(RobotConfig)
    weights: str = parameter('encoder.safetensors', 'weight file: a name in the installed '
                             'weights folder or a path; its .json card lies beside it')
    motion_weights: str = parameter('motion.safetensors', 'weight file of how moving things go '
                                    'on, as weights')
    device: str = parameter('cpu', 'torch device: cpu, cuda or cuda:N; one that is not there is '
                            'an error')
    runtime: str = parameter('auto', 'what runs the encoder: onnxruntime (CPU alone), torch, or '
                             'auto, the first on the CPU and the second elsewhere',
                             choices=('auto', 'onnx', 'torch'))
    autocast: bool = parameter(False, 'bfloat16 autocast on CUDA')
    threads: int = parameter(1, 'threads of one operator on the CPU', minimum=1, maximum=64)
    min_confidence: float = parameter(0.5, 'an entity below this does not enter the camera scan',
                                      minimum=0.0, maximum=1.0, live=True)
    unsure_above: float = parameter(4.0, 'out-of-distribution score above which the entities are '
                                    'marked unsure: the policy then follows the map instead of '
                                    'its reflex (3: one in a hundred ordinary frames)',
                                    minimum=1.0, maximum=1000.0, live=True)
