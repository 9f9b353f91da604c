"""A native TensorRT engine as a backend: named tensors, pinned memory, one stream, no torch.

Every name called here exists in the Python bindings of TensorRT 10.3 (JetPack 6), 10.16 and 11.4. It has never run on
hardware; `docs/runtimes.md` says what has.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from edge.errors import ModelError, RuntimeUnavailable
from edge.runtime.cuda import Buffer, Cuda
from edge.runtime.onnx import OUTPUT_NAMES
from edge.runtime.outputs import RawOutputs
from protocols.arrays import FloatArray, ImageArray

INPUT_NAME = "image"
_INSTALL = (
    "pip install 'skyloop[tensorrt]'; on a Jetson it comes with JetPack, and a virtual environment sees it with "
    "--system-site-packages"
)


def import_tensorrt() -> Any:  # noqa: ANN401 - TensorRT publishes no types
    """The module `tensorrt`.

    Raises:
        RuntimeUnavailable: it is not installed, or its libraries are missing.
    """
    try:
        return importlib.import_module("tensorrt")
    except (ImportError, OSError) as exc:
        raise RuntimeUnavailable(f"TensorRT's Python package cannot be imported ({exc})", _INSTALL) from exc


def machine_tag() -> str:
    """What an engine is bound to, GPU architecture and TensorRT version: for example `sm87-trt10.3.0`.

    Raises:
        RuntimeUnavailable: there is no TensorRT or no GPU.
    """
    return f"{Cuda().architecture()}-trt{import_tensorrt().__version__}"


class EngineBackend:
    """One engine file on the first GPU."""

    def __init__(self, path: Path) -> None:
        """Load an engine.

        Args:
            path: what `skyloop-distill engine` wrote.

        Raises:
            RuntimeUnavailable: no TensorRT, no GPU, or the engine was built for others.
            ModelError: the engine lacks an input or an output.
        """
        trt = import_tensorrt()
        self._cuda = Cuda()
        self._logger = trt.Logger(trt.Logger.ERROR)
        self._runtime = trt.Runtime(self._logger)
        self._engine = self._runtime.deserialize_cuda_engine(path.read_bytes())
        if self._engine is None:
            raise RuntimeUnavailable(
                f"{path.name}: TensorRT {trt.__version__} on {self._cuda.architecture()} cannot read it",
                "build it on this machine with `skyloop-distill engine BUNDLE`",
            )
        self._check_tensors(trt, path)
        self._smallest, _, self._largest = map(tuple, self._engine.get_tensor_profile_shape(INPUT_NAME, 0))
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise RuntimeUnavailable(f"{path.name}: no execution context", "free GPU memory, or build for less pixels")
        self._stream = self._cuda.stream()
        self._buffers: dict[str, Buffer] = {}
        self._shape: tuple[int, ...] = ()
        self.name = f"tensorrt:{trt.__version__}"

    def run(self, image: ImageArray) -> RawOutputs:
        """Maps for one (H, W, 3) uint8 BGR image.

        Raises:
            ModelError: the image has a size that the engine was not built for, or the GPU fails.
        """
        if (1, *image.shape) != self._shape:
            self._fit((1, *image.shape))
        np.copyto(self._buffers[INPUT_NAME].host[0], image)
        self._buffers[INPUT_NAME].to_device(self._stream)
        if not self._context.execute_async_v3(self._stream.value):
            raise ModelError(f"{self.name}: the engine did not run; see the lines of TensorRT above")
        for name in OUTPUT_NAMES:
            self._buffers[name].to_host(self._stream)
        self._cuda.synchronise(self._stream)
        embedding, objectness, box_ltrb, class_logits = map(self._copied, OUTPUT_NAMES)
        return RawOutputs(embedding[0], objectness[0, 0], box_ltrb[0], class_logits[0])

    def _copied(self, name: str) -> FloatArray:
        """An output of its own: the next image overwrites the pinned memory."""
        return np.array(self._buffers[name].host, dtype=np.float32)

    def _fit(self, shape: tuple[int, ...]) -> None:
        """Buffers and addresses for images of another size."""
        fits = len(shape) == len(self._largest) and all(
            low <= side <= high for low, side, high in zip(self._smallest, shape, self._largest, strict=True)
        )
        if not fits or not self._context.set_input_shape(INPUT_NAME, shape):
            raise ModelError(
                f"an image {shape[1:]} is none the engine was built for, {self._smallest[1:]} to {self._largest[1:]}; "
                "fly with --tile, or build it with --largest"
            )
        dtypes: dict[str, type[np.generic]] = {INPUT_NAME: np.uint8, **dict.fromkeys(OUTPUT_NAMES, np.float32)}
        for name, dtype in dtypes.items():
            buffer = Buffer(self._cuda, tuple(self._context.get_tensor_shape(name)), dtype)
            self._context.set_tensor_address(name, buffer.device.value)
            self._buffers[name] = buffer
        self._shape = shape

    def _check_tensors(self, trt: Any, path: Path) -> None:  # noqa: ANN401 - TensorRT publishes no types
        wanted = {INPUT_NAME: trt.DataType.UINT8, **dict.fromkeys(OUTPUT_NAMES, trt.DataType.FLOAT)}
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        found = {name: self._engine.get_tensor_dtype(name) for name in names}
        if wrong := {name for name, dtype in wanted.items() if found.get(name) != dtype}:
            raise ModelError(
                f"{path}: lacks {', '.join(sorted(wrong))} or holds it in another type; "
                "build it with `skyloop-distill engine`"
            )
