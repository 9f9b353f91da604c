"""Images to bytes and back, with every limit checked on the header before anything is decoded.

Arrays are (H, W) or (H, W, 3), **BGR** as everywhere in this project (the files themselves are ordinary RGB
files), row 0 at the top. Orientation tags (EXIF) are ignored: boxes refer to the pixels as stored. Raw
imagery (`application/x-skyloop-raw`) carries any band count and number type: a 20 byte header (see `_RAW`)
and then the array's bytes, little-endian, C order, bands in the camera's order.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from protocols import limits
from protocols.arrays import AnyImage
from protocols.errors import ImageryError
from protocols.fields import MediaType

_RAW_MAGIC = b"SKYR"
_RAW_VERSION = 1
_RAW = struct.Struct("<4sBBBxIII")
"""magic, version, dtype code, ndim (2 or 3), a zero byte, height, width, bands (1 when ndim is 2)."""

_RAW_DTYPES = ("<u1", "<u2", "<u4", "<i1", "<i2", "<i4", "<f2", "<f4", "<f8")
"""The dtype code is 1 + the position here; append only."""

_SUFFIX: dict[str, str] = {"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp"}
_DTYPES: dict[str, tuple[type[np.generic], ...]] = {
    "image/jpeg": (np.uint8,),
    "image/png": (np.uint8, np.uint16),
    "image/webp": (np.uint8,),
}
_BANDS: dict[str, tuple[int, ...]] = {"image/jpeg": (1, 3), "image/png": (1, 3), "image/webp": (3,)}


def encode_image(array: AnyImage, media_type: MediaType, quality: int = 90) -> bytes:
    """An image as bytes.

    Args:
        array: JPEG uint8, PNG uint8 or uint16, each (H, W) or (H, W, 3) BGR; WebP uint8 (H, W, 3) BGR;
            raw (H, W) or (H, W, B) of any integer or float type up to 32 bit, or float64.
        media_type: the format.
        quality: 1..100 for JPEG and WebP; PNG and raw are lossless and ignore it.

    Returns:
        The encoded image; the same array gives the same bytes on the same OpenCV build.

    Raises:
        ImageryError: a shape, dtype, size or quality the format cannot carry.
    """
    array = np.asarray(array)
    if array.ndim not in (2, 3):
        raise ImageryError(f"image has shape {array.shape}; expected (H, W) or (H, W, B)")
    bands = array.shape[2] if array.ndim == 3 else 1
    _check_size(array.shape[1], array.shape[0], bands)
    if media_type == "application/x-skyloop-raw":
        return _encode_raw(array)
    _check_encodable(array, bands, media_type, quality)
    flags = {
        "image/jpeg": [cv2.IMWRITE_JPEG_QUALITY, quality],
        "image/webp": [cv2.IMWRITE_WEBP_QUALITY, quality],
    }.get(media_type, [])
    try:
        done, data = cv2.imencode(_SUFFIX[media_type], array, flags)
    except cv2.error as exc:
        raise ImageryError(f"OpenCV cannot write a {array.shape} {array.dtype} array as {media_type}") from exc
    if not done:
        raise ImageryError(f"OpenCV cannot write a {array.shape} {array.dtype} array as {media_type}")
    return data.tobytes()


def decode_image(data: bytes, media_type: MediaType) -> AnyImage:
    """The image in bytes that are not trusted.

    Args:
        data: the encoded image.
        media_type: what it is said to be; bytes of another format are refused.

    Returns:
        (H, W) for one band, else (H, W, 3) BGR; raw gives the very array that was encoded. Always a new,
        writable array.

    Raises:
        ImageryError: not this format, damaged, over a limit, or with alpha or animation.
    """
    width, height, bands = image_size(data, media_type)
    if media_type == "application/x-skyloop-raw":
        return _decode_raw(data)
    depth = cv2.IMREAD_ANYDEPTH if media_type == "image/png" else 0
    colour = cv2.IMREAD_COLOR if bands == 3 else cv2.IMREAD_GRAYSCALE
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), colour | depth | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as exc:
        raise ImageryError(f"the {media_type} of {len(data)} bytes is damaged: encode it again") from exc
    if image is None or image.shape[:2] != (height, width):
        raise ImageryError(f"the {media_type} of {len(data)} bytes is damaged: encode it again")
    return image


def image_size(data: bytes, media_type: MediaType) -> tuple[int, int, int]:
    """Width, height and bands of an encoded image, read from its header without decoding.

    Args:
        data: the encoded image; its first bytes are enough where metadata is short.
        media_type: what it is said to be.

    Returns:
        (width, height, bands); pixels. A PNG palette counts as 3 bands, for that is what it decodes to.

    Raises:
        ImageryError: not this format, cut off before its size, over a limit, or with alpha or animation.
    """
    reader = _READERS.get(media_type)
    if reader is None:
        raise ImageryError(f"media type {str(media_type)[:40]!r} is unknown; use one of {', '.join(_READERS)}")
    try:
        width, height, bands = reader(bytes(data))
    except (struct.error, IndexError) as exc:
        raise ImageryError(f"the {media_type} header is cut off after {len(data)} bytes") from exc
    _check_size(width, height, bands)
    return width, height, bands


def _check_size(width: int, height: int, bands: int) -> None:
    side, pixels = limits.MAX_IMAGE_SIDE_PX, limits.MAX_IMAGE_PIXELS
    if not (1 <= width <= side and 1 <= height <= side and width * height <= pixels):
        raise ImageryError(
            f"image is {width}x{height}; sides are 1..{side} and at most {pixels} pixels: crop or shrink it"
        )
    if not 1 <= bands <= limits.MAX_RAW_BANDS:
        raise ImageryError(f"image has {bands} bands; expected 1..{limits.MAX_RAW_BANDS}: send fewer")


def _check_encodable(array: AnyImage, bands: int, media_type: MediaType, quality: int) -> None:
    if media_type not in _SUFFIX:
        raise ImageryError(f"media type {media_type!r} is unknown; use one of {', '.join(_READERS)}")
    if bands not in _BANDS[media_type] or array.dtype not in _DTYPES[media_type]:
        names = " or ".join(np.dtype(dtype).name for dtype in _DTYPES[media_type])
        raise ImageryError(
            f"{media_type} cannot carry {bands} bands of {array.dtype}; it takes {names} in "
            f"{' or '.join(map(str, _BANDS[media_type]))} bands: send application/x-skyloop-raw"
        )
    if not 1 <= quality <= 100:
        raise ImageryError(f"quality is {quality}; expected 1..100")


def _encode_raw(array: AnyImage) -> bytes:
    name = "<" + array.dtype.str[1:]
    if name not in _RAW_DTYPES:
        raise ImageryError(f"raw imagery cannot carry {array.dtype}; use one of {', '.join(_RAW_DTYPES)}")
    if array.nbytes > limits.MAX_RAW_BYTES:
        raise ImageryError(f"raw image of {array.nbytes} bytes; at most {limits.MAX_RAW_BYTES}: send fewer bands")
    height, width = array.shape[:2]
    bands = array.shape[2] if array.ndim == 3 else 1
    code = 1 + _RAW_DTYPES.index(name)
    header = _RAW.pack(_RAW_MAGIC, _RAW_VERSION, code, array.ndim, height, width, bands)
    return header + array.astype(name, copy=False).tobytes()


def _raw_layout(data: bytes) -> tuple[np.dtype[Any], tuple[int, ...]]:
    magic, version, code, ndim, height, width, bands = _RAW.unpack_from(data)
    if magic != _RAW_MAGIC or version != _RAW_VERSION:
        raise ImageryError("not raw imagery of version 1: magic or version differ")
    if not 1 <= code <= len(_RAW_DTYPES) or ndim not in (2, 3) or (ndim == 2 and bands != 1):
        raise ImageryError(f"raw header with dtype code {code}, {ndim} axes and {bands} bands is not valid")
    _check_size(width, height, bands)
    dtype = np.dtype(_RAW_DTYPES[code - 1])
    if width * height * bands * dtype.itemsize > limits.MAX_RAW_BYTES:
        raise ImageryError(f"raw image of {width}x{height}x{bands} {dtype} is over {limits.MAX_RAW_BYTES} bytes")
    return dtype, (height, width) if ndim == 2 else (height, width, bands)


def _decode_raw(data: bytes) -> AnyImage:
    dtype, shape = _raw_layout(data)
    expected = _RAW.size + int(np.prod(shape)) * dtype.itemsize
    if len(data) != expected:
        raise ImageryError(f"raw image {shape} {dtype} has {len(data)} bytes; its header asks for {expected}")
    return np.frombuffer(data, dtype, offset=_RAW.size).reshape(shape).astype(dtype.newbyteorder("="))


def _raw_size(data: bytes) -> tuple[int, int, int]:
    _, shape = _raw_layout(data)
    return shape[1], shape[0], shape[2] if len(shape) == 3 else 1


def _png_size(data: bytes) -> tuple[int, int, int]:
    # PNG specification, third edition, 5.2 and 11.2.1: signature, then IHDR always comes first.
    if data[:8] != b"\x89PNG\r\n\x1a\n" or data[12:16] != b"IHDR":
        raise ImageryError("not a PNG: signature or IHDR is missing")
    width, height, _, colour_type = struct.unpack_from(">IIBB", data, 16)
    bands = {0: 1, 2: 3, 3: 3}.get(colour_type)
    if bands is None:
        raise ImageryError(f"PNG has colour type {colour_type}; alpha is not imagery: flatten it first")
    return width, height, bands


_JPEG_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Start of frame markers; C4, C8 and CC in between are tables (ITU-T T.81, table B.1)."""


def _jpeg_size(data: bytes) -> tuple[int, int, int]:
    if data[:2] != b"\xff\xd8":
        raise ImageryError("not a JPEG: it does not start with SOI")
    at = 2
    while True:
        if data[at] != 0xFF:
            raise ImageryError(f"JPEG is damaged: no marker at byte {at}")
        while data[at + 1] == 0xFF:  # fill bytes, T.81 B.1.1.2
            at += 1
        marker, (length,) = data[at + 1], struct.unpack_from(">H", data, at + 2)
        if marker in _JPEG_SOF:
            break
        if marker == 0xDA or length < 2:
            raise ImageryError("JPEG is damaged: no frame header before the scan")
        at += 2 + length
    precision, height, width, bands = struct.unpack_from(">BHHB", data, at + 4)
    if precision != 8 or bands not in (1, 3):
        raise ImageryError(f"JPEG has {bands} bands of {precision} bit; only grey or colour of 8 bit are taken")
    return width, height, bands


def _webp_size(data: bytes) -> tuple[int, int, int]:
    # RFC 9649 (WebP): RIFF header, then a VP8, VP8L or VP8X chunk.
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        raise ImageryError("not a WebP: RIFF or WEBP is missing")
    kind = data[12:16]
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF, 3
    if kind == b"VP8L" and data[20] == 0x2F:
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, 3
    if kind == b"VP8X":
        flags, canvas = data[20], struct.unpack_from("<HBHB", data, 24)
        if flags & 0x02:
            raise ImageryError("WebP is animated: send one frame")
        return canvas[0] + (canvas[1] << 16) + 1, canvas[2] + (canvas[3] << 16) + 1, 3
    raise ImageryError("WebP is damaged: no VP8, VP8L or VP8X header")


_READERS: dict[str, Callable[[bytes], tuple[int, int, int]]] = {
    "image/jpeg": _jpeg_size,
    "image/png": _png_size,
    "image/webp": _webp_size,
    "application/x-skyloop-raw": _raw_size,
}
