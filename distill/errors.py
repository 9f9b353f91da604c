"""Errors of training and export.

SkyloopError
└── DistillError     stop: the thing, the limit and the cure are in the message
    ├── DataSetError    a data set lacks something or holds something impossible
    ├── TrainingError   a run cannot go on (NaN loss, wrong checkpoint)
    └── GateError       a file may not ship: it lost too much in quantization
"""

from __future__ import annotations

from protocols.errors import SkyloopError


class DistillError(SkyloopError):
    """Training, export or evaluation cannot go on."""


class DataSetError(DistillError):
    """A data set lacks something or holds something impossible."""


class TrainingError(DistillError):
    """A training run cannot go on."""


class GateError(DistillError):
    """A quantized file differs too much from its FP32 original and may not ship."""
