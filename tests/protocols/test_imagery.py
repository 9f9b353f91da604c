"""Images: lossless formats come back bit for bit, sizes are read undecoded, bombs and junk are refused."""

from __future__ import annotations

import contextlib
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import ImageryError, decode_image, encode_image, image_size, limits

RAW = "application/x-skyloop-raw"
TYPES = ["image/jpeg", "image/png", "image/webp", RAW]


def smooth(bands=3, height=40, width=60, dtype=np.uint8):
    """A gradient, so that lossy formats change it little; another one in every band."""
    y, x = np.mgrid[:height, :width]
    full = np.stack([(x + 2 * y + 40 * band) % 200 for band in range(bands)], axis=-1).astype(dtype)
    return full[..., 0] if bands == 1 else full


@pytest.mark.parametrize(
    ("media_type", "bands", "dtype"),
    [
        ("image/png", 1, np.uint8),
        ("image/png", 3, np.uint8),
        ("image/png", 1, np.uint16),
        ("image/png", 3, np.uint16),
        *(
            (RAW, bands, dtype)
            for bands in (1, 3, 7)
            for dtype in ("u1", "u2", "u4", "i1", "i2", "i4", "f2", "f4", "f8")
        ),
    ],
)
def test_lossless_formats_give_the_array_back(media_type, bands, dtype):
    array = smooth(bands, dtype=dtype) * (1 if np.dtype(dtype).itemsize == 1 else 150)
    data = encode_image(array, media_type)
    back = decode_image(data, media_type)
    np.testing.assert_array_equal(back, array)
    assert (back.dtype, back.flags.writeable, back.flags.c_contiguous) == (array.dtype, True, True)
    assert image_size(data, media_type) == (60, 40, bands)


@pytest.mark.parametrize(("media_type", "bands"), [("image/jpeg", 1), ("image/jpeg", 3), ("image/webp", 3)])
def test_lossy_formats_keep_shape_and_band_order(media_type, bands):
    array = np.zeros((33, 47, 3), np.uint8) + np.array([20, 90, 200], np.uint8)
    array = array[..., 0] if bands == 1 else array
    data = encode_image(array, media_type)
    back = decode_image(data, media_type)
    assert back.shape == array.shape
    assert np.abs(back.astype(int) - array).max() <= 6  # a flat colour costs only rounding and colour conversion
    assert image_size(data, media_type) == (47, 33, bands)


def test_raw_keeps_a_last_axis_of_one_and_foreign_byte_order():
    array = np.arange(6, dtype=">u2").reshape(2, 3, 1)
    back = decode_image(encode_image(array, RAW), RAW)
    np.testing.assert_array_equal(back, array)
    assert (back.shape, back.dtype) == ((2, 3, 1), np.uint16)


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(TYPES))
def test_size_from_the_header_is_the_decoded_size(width, height, media_type):
    data = encode_image(np.zeros((height, width, 3), np.uint8), media_type)
    assert image_size(data, media_type) == (width, height, 3)
    assert decode_image(data, media_type).shape == (height, width, 3)


def test_lossless_and_extended_webp_sizes_are_read():
    array = smooth()
    done, data = cv2.imencode(".webp", array, [cv2.IMWRITE_WEBP_QUALITY, 101])  # over 100 is lossless, VP8L
    assert done
    assert data.tobytes()[12:16] == b"VP8L"
    assert image_size(data.tobytes(), "image/webp") == (60, 40, 3)
    np.testing.assert_array_equal(decode_image(data.tobytes(), "image/webp"), array)
    canvas = b"RIFF\0\0\0\0WEBPVP8X" + struct.pack("<IBxxxHBHB", 10, 0, 699, 0, 299, 0)
    assert image_size(canvas, "image/webp") == (700, 300, 3)


def test_exif_orientation_is_ignored():
    data = encode_image(smooth(), "image/jpeg")
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)  # orientation 6: turn by 90 degrees
    exif = b"Exif\0\0" + tiff
    turned = data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]
    assert cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR).shape == (60, 40, 3)
    assert decode_image(turned, "image/jpeg").shape == (40, 60, 3)


# --- what is refused ---


@pytest.mark.parametrize(
    ("array", "media_type"),
    [
        pytest.param(np.zeros((4, 4), np.uint16), "image/jpeg", id="jpeg of uint16"),
        pytest.param(np.zeros((4, 4, 4), np.uint8), "image/png", id="png with alpha"),
        pytest.param(np.zeros((4, 4), np.uint8), "image/webp", id="grey webp"),
        pytest.param(np.zeros((4, 4), np.float32), "image/png", id="png of floats"),
        pytest.param(np.zeros((4, 4), np.complex64), RAW, id="raw of complex"),
        pytest.param(np.zeros((4, 4), bool), RAW, id="raw of bool"),
        pytest.param(np.zeros((4, 4), object), RAW, id="raw of objects"),
        pytest.param(np.zeros(4, np.uint8), RAW, id="one axis"),
        pytest.param(np.zeros((0, 4), np.uint8), "image/png", id="no rows"),
        pytest.param(np.zeros((1, 16385), np.uint8), "image/png", id="too wide"),
        pytest.param(np.zeros((2, 2, 513), np.uint8), RAW, id="too many bands"),
        pytest.param(np.zeros((4, 4), np.uint8), "image/gif", id="other format"),
    ],
)
def test_encode_refuses(array, media_type):
    with pytest.raises(ImageryError):
        encode_image(array, media_type)


@pytest.mark.parametrize("quality", [0, 101, -1])
def test_quality_out_of_range_is_refused(quality):
    with pytest.raises(ImageryError, match=r"1\.\.100"):
        encode_image(smooth(), "image/jpeg", quality)


def png(width, height, depth=8, colour=2):
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))


def jpeg(width, height, precision=8, bands=3):
    return b"\xff\xd8\xff\xff\xc0" + struct.pack(">HBHHB", 8 + 3 * bands, precision, height, width, bands)


def raw(code=1, ndim=3, shape=(2, 2, 3), version=1):
    return struct.pack("<4sBBBxIII", b"SKYR", version, code, ndim, *shape)


BOMBS = [
    pytest.param("image/png", png(60_000, 60_000), id="png sides"),
    pytest.param("image/png", png(16_000, 16_000), id="png pixels"),
    pytest.param("image/png", png(0, 5), id="png empty"),
    pytest.param("image/png", png(2**32 - 1, 1), id="png widest"),
    pytest.param("image/png", png(5, 5, colour=6), id="png alpha"),
    pytest.param("image/jpeg", jpeg(65_535, 65_535), id="jpeg sides"),
    pytest.param("image/jpeg", jpeg(5, 0), id="jpeg without height"),
    pytest.param("image/jpeg", jpeg(5, 5, precision=12), id="jpeg 12 bit"),
    pytest.param("image/jpeg", jpeg(5, 5, bands=4), id="jpeg cmyk"),
    pytest.param("image/webp", b"RIFF\0\0\0\0WEBPVP8X" + struct.pack("<IBxxxHBHB", 10, 0, 0, 9, 0, 9), id="webp sides"),
    pytest.param(
        "image/webp",
        b"RIFF\0\0\0\0WEBPVP8X" + struct.pack("<IBxxxHBHB", 10, 2, 9, 0, 9, 0),
        id="webp animated",
    ),
    pytest.param(RAW, raw(shape=(16_000, 16_000, 3)), id="raw pixels"),
    pytest.param(RAW, raw(code=9, shape=(4096, 4096, 512)), id="raw bytes"),
    pytest.param(RAW, raw(code=0), id="raw code 0"),
    pytest.param(RAW, raw(code=10), id="raw code unknown"),
    pytest.param(RAW, raw(ndim=4), id="raw axes"),
    pytest.param(RAW, raw(ndim=2), id="raw bands without axis"),
    pytest.param(RAW, raw(version=2), id="raw version"),
]


@pytest.mark.parametrize(("media_type", "data"), BOMBS)
def test_header_over_a_limit_is_refused_before_decoding(media_type, data, monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", None)  # reaching the decoder would be a TypeError
    with pytest.raises(ImageryError):
        image_size(data, media_type)
    with pytest.raises(ImageryError):
        decode_image(data, media_type)


@pytest.mark.parametrize("media_type", TYPES)
def test_bytes_of_another_format_are_refused(media_type):
    other = "image/png" if media_type == "image/jpeg" else "image/jpeg"
    with pytest.raises(ImageryError, match=r"not a|not raw"):
        decode_image(encode_image(smooth(), other), media_type)


@pytest.mark.parametrize("extra", [b"x", b"\0" * 100])
def test_raw_with_bytes_too_many_is_refused(extra):
    with pytest.raises(ImageryError, match="asks for"):
        decode_image(encode_image(smooth(), RAW) + extra, RAW)


def test_unknown_media_type_is_refused():
    with pytest.raises(ImageryError, match="unknown"):
        image_size(b"GIF89a", "image/gif")


@given(st.sampled_from(TYPES), st.integers(0, 10**6), st.binary(max_size=3), st.integers(0, 500))
def test_damaged_images_decode_or_raise_imagery_errors(media_type, at, new, cut):
    data = encode_image(smooth(), media_type)
    at %= len(data)
    with contextlib.suppress(ImageryError):
        image = decode_image(data[:at] + new + data[at + cut :], media_type)
        assert image.shape[0] * image.shape[1] <= limits.MAX_IMAGE_PIXELS


@given(st.sampled_from(TYPES), st.binary(max_size=60))
def test_random_bytes_raise_imagery_errors_alone(media_type, data):
    with pytest.raises(ImageryError):
        image_size(data, media_type)
