"""The encoder under onnxruntime: the same network on the CPU, in less than half of torch's time.

It is exported from the loaded network at every start (0.4 s), so no second weight file can be
stale or forged. The graph is for one observation; scaled-dot attention, the convolutions and the
decoding are in it, the out-of-distribution score is not.
"""

from __future__ import annotations

import io
import warnings

import numpy as np
import torch
from torch import Tensor, nn

from karpathy_control.contracts.config import ConfigError
from karpathy_control.contracts.types import FloatArray
from karpathy_control.perception.encoder import Encoder, Inputs, pack
from karpathy_control.perception.novelty import pooled

OPSET = 18


class _Flat(nn.Module):
    """The encoder as a function of separate tensors, with everything that leaves it packed."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, *parts: Tensor) -> tuple[Tensor, Tensor]:
        decoded = self.encoder(Inputs(*parts))
        return pack(decoded), pooled(decoded.tokens)


def export(encoder: Encoder) -> bytes:
    """The network as ONNX: inputs named as in `Inputs`, batch 1; outputs `packed` and `pooled`.

    Raises ConfigError where it cannot be exported, as without the `onnx` package.
    """
    file = io.BytesIO()
    try:
        with warnings.catch_warnings():
            # The exporter that needs no further packages is called old, and shapes that are
            # fixed by the layout are traced as constants, as they should be.
            warnings.simplefilter('ignore')
            torch.onnx.export(_Flat(encoder).eval(), tuple(Inputs.absent(1)),
                              file,  # type: ignore[arg-type]  # taken by this exporter
                              input_names=list(Inputs._fields), output_names=['packed', 'pooled'],
                              opset_version=OPSET, dynamo=False)
    except (ImportError, torch.onnx.OnnxExporterError) as error:
        raise ConfigError(f'runtime onnx: {error}; pip install onnx onnxruntime, or set '
                          'runtime: torch') from error
    return file.getvalue()


class OnnxSession:
    """The exported encoder, ready to run on one set of buffers.

    Args:
        model: what `export` gives.
        inputs: buffers that every run reads; batch 1.
        threads: of one operator.

    Raises ConfigError where onnxruntime is missing.

    """

    def __init__(self, model: bytes, inputs: Inputs, threads: int) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise ConfigError(f'runtime onnx: {error}; pip install onnx onnxruntime, or set '
                              'runtime: torch') from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        # A thread that spins for work takes the core that the next node needs.
        options.add_session_config_entry('session.intra_op.allow_spinning', '0')
        self._session = onnxruntime.InferenceSession(
            model, options, providers=['CPUExecutionProvider'])
        taken = {item.name for item in self._session.get_inputs()}  # none that is not used
        self._feed = {name: tensor.numpy() for name, tensor in inputs._asdict().items()
                      if name in taken}

    def run(self) -> tuple[FloatArray, FloatArray]:
        """What `pack` gives, (SECTORS, columns), and the pooled tokens, (1, 2 width)."""
        packed, vectors = self._session.run(None, self._feed)
        return np.asarray(packed[0]), np.asarray(vectors)
