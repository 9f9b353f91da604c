"""The few calls of the CUDA runtime that an engine needs, through ctypes: every machine with CUDA has the library.

A Jetson has `libcudart` with JetPack, but neither torch nor `cuda-python`. Names and signatures follow the CUDA Runtime
API reference (sections Device, Stream, Memory Management); they are the same from CUDA 11 to 13.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.util
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.errors import ModelError, RuntimeUnavailable

_TO_DEVICE, _TO_HOST = 1, 2  # enum cudaMemcpyKind
_MAJOR, _MINOR = 75, 76  # enum cudaDeviceAttr: cudaDevAttrComputeCapabilityMajor, …Minor
_NON_BLOCKING = 1  # cudaStreamNonBlocking: does not wait for the default stream
_CURE = "install CUDA's runtime library and a driver for it; on a Jetson both come with JetPack"

Pointer = ctypes.c_void_p


class Cuda:
    """The CUDA runtime and its first device."""

    def __init__(self) -> None:
        """Load the library and look for a device.

        Raises:
            RuntimeUnavailable: there is no library, no driver or no device.
        """
        self.library = _load()
        self.library.cudaGetErrorString.restype = ctypes.c_char_p
        count = ctypes.c_int()
        if error := self.library.cudaGetDeviceCount(ctypes.byref(count)):
            raise RuntimeUnavailable(f"CUDA finds no device ({self._words(error)})", _CURE)

    def architecture(self) -> str:
        """Of the first device, for example `sm87`."""
        numbers = []
        for attribute in (_MAJOR, _MINOR):
            value = ctypes.c_int()
            self.call("cudaDeviceGetAttribute", ctypes.byref(value), attribute, 0)
            numbers.append(str(value.value))
        return "sm" + "".join(numbers)

    def stream(self) -> Pointer:
        """A new stream of its own."""
        stream = Pointer()
        self.call("cudaStreamCreateWithFlags", ctypes.byref(stream), _NON_BLOCKING)
        return stream

    def synchronise(self, stream: Pointer) -> None:
        """Wait until a stream has done everything."""
        self.call("cudaStreamSynchronize", stream)

    def call(self, name: str, *arguments: object) -> None:
        """One call of the runtime.

        Raises:
            ModelError: it answers anything but success.
        """
        if error := getattr(self.library, name)(*arguments):
            raise ModelError(f"{name} failed: {self._words(error)}; look at the GPU with nvidia-smi or tegrastats")

    def _words(self, error: int) -> str:
        return str(self.library.cudaGetErrorString(error).decode())


class Buffer:
    """Pinned host memory and as much device memory, for one tensor of one shape."""

    def __init__(self, cuda: Cuda, shape: tuple[int, ...], dtype: type[np.generic]) -> None:
        """Allocate both.

        Raises:
            ModelError: there is not enough memory.
        """
        self.nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        self._cuda = cuda
        self.device, pinned = Pointer(), Pointer()
        cuda.call("cudaMalloc", ctypes.byref(self.device), ctypes.c_size_t(self.nbytes))
        weakref.finalize(self, cuda.library.cudaFree, self.device)
        cuda.call("cudaHostAlloc", ctypes.byref(pinned), ctypes.c_size_t(self.nbytes), 0)
        weakref.finalize(self, cuda.library.cudaFreeHost, pinned)
        self._pinned = pinned
        memory = (ctypes.c_uint8 * self.nbytes).from_address(pinned.value or 0)
        self.host: NDArray[np.generic] = np.ctypeslib.as_array(memory).view(dtype).reshape(shape)
        """The pinned memory as an array; what is copied to and from the device."""

    def to_device(self, stream: Pointer) -> None:
        """Queue the copy of the host's memory to the device."""
        self._copy(self.device, self._pinned, _TO_DEVICE, stream)

    def to_host(self, stream: Pointer) -> None:
        """Queue the copy of the device's memory to the host."""
        self._copy(self._pinned, self.device, _TO_HOST, stream)

    def _copy(self, target: Pointer, source: Pointer, kind: int, stream: Pointer) -> None:
        self._cuda.call("cudaMemcpyAsync", target, source, ctypes.c_size_t(self.nbytes), kind, stream)


def _load() -> ctypes.CDLL:
    tried = list(_places())
    for place in tried:
        try:
            return ctypes.CDLL(place)
        except OSError:
            continue
    raise RuntimeUnavailable("CUDA's runtime library libcudart is not installed", _CURE)


def _places() -> Iterator[str]:
    """Where it may lie: the loader's own folders, JetPack's, and those of the packages that pip installs."""
    if found := ctypes.util.find_library("cudart"):
        yield found
    yield from ("libcudart.so.13", "libcudart.so.12", "/usr/local/cuda/lib64/libcudart.so")
    if (package := importlib.util.find_spec("nvidia")) and package.submodule_search_locations:
        for folder in package.submodule_search_locations:
            yield from map(str, sorted(Path(folder).glob("*/lib/libcudart.so*"), reverse=True))
