import json
import threading

import cv2
import numpy as np
import pytest

from edge.capture import CaptureCounts, Source, _newest, open_source, to_uint8
from edge.errors import CaptureError


@pytest.fixture
def folder(tmp_path):
    for i in range(4):
        cv2.imwrite(str(tmp_path / f"{i:03d}.png"), np.full((32, 48, 3), i * 20, np.uint8))
    return tmp_path


def test_folder_gives_every_image_in_name_order(folder):
    frames = list(open_source(str(folder)))
    assert [int(f.image[0, 0, 0]) for f in frames] == [0, 20, 40, 60]
    assert [f.header.index for f in frames] == [0, 1, 2, 3]


def test_folder_with_img_inside_and_fps_txt_is_a_sequence(tmp_path):
    (tmp_path / "img").mkdir()
    cv2.imwrite(str(tmp_path / "img" / "1.png"), np.zeros((8, 8), np.uint8))
    (tmp_path / "fps.txt").write_text("12.5\n")
    source = open_source(str(tmp_path))
    assert source.fps == 12.5
    assert len(list(source)) == 1


def test_glob_takes_what_matches(folder):
    assert len(list(open_source(str(folder / "00[12].png")))) == 2


def test_undecodable_image_is_counted_and_the_run_goes_on(folder):
    (folder / "001.png").write_bytes(b"not an image")
    source = open_source(str(folder))
    assert len(list(source)) == 3
    assert source.counts == CaptureCounts(frames=3, undecodable=1)


def test_folder_where_nothing_decodes_is_an_error(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"nothing")
    with pytest.raises(CaptureError, match="none of the 1 images decodes"):
        list(open_source(str(tmp_path)))


def test_sidecar_gives_time_and_pose(folder):
    line = {"file": "images/002.png", "time_s": 7.5, "pose": {"lat_deg": 47.0, "lon_deg": 8.0, "gsd_m": 0.1}}
    (folder / "frames.jsonl").write_text(json.dumps(line) + "\n")
    frames = list(open_source(str(folder)))
    assert frames[2].header.pose.gsd_m == 0.1
    assert frames[1].header.pose is None


def test_sidecar_that_is_no_json_names_the_file(folder):
    (folder / "frames.jsonl").write_text("{broken")
    with pytest.raises(CaptureError, match=r"frames\.jsonl"):
        open_source(str(folder))


def test_video_gives_every_frame(tmp_path):
    path = tmp_path / "v.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 20.0, (64, 48))
    for _ in range(9):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    source = open_source(str(path))
    assert source.fps == pytest.approx(20.0)
    assert len(list(source)) == 9


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nowhere.mp4", "no such file"),
        ("/dev/null/x", "no such file"),
        ("gst:videotestsrc ! appsink", "GStreamer"),
    ],
    ids=["missing-video", "missing-folder", "no-gstreamer"],
)
def test_source_that_cannot_open_says_why(spec, message):
    with pytest.raises(CaptureError, match=message):
        open_source(spec)


def test_corrupt_video_is_an_error(tmp_path):
    (tmp_path / "v.mp4").write_bytes(b"\0" * 4096)
    with pytest.raises(CaptureError, match="not a video"):
        open_source(str(tmp_path / "v.mp4"))


def test_empty_folder_is_an_error(tmp_path):
    with pytest.raises(CaptureError, match="holds no image"):
        open_source(str(tmp_path))


def test_sixteen_bit_image_is_stretched_to_eight():
    ramp = np.linspace(20_000, 24_000, 64 * 64).reshape(64, 64).astype(np.uint16)
    image = to_uint8(ramp)
    assert image.dtype == np.uint8
    assert (int(image.min()), int(image.max())) == (0, 255)


class SlowReader:
    """Stands in for a camera driver: gives five pictures at once, then ends."""

    def __init__(self):
        self.given = 0
        self.drained = threading.Event()

    def read(self):
        self.given += 1
        if self.given > 5:
            self.drained.set()
            return False, None
        return True, np.full((8, 8, 3), self.given, np.uint8)

    def release(self):
        pass


def test_live_source_keeps_the_newest_and_counts_the_dropped():
    reader = SlowReader()
    source = Source("camera", (), is_live=True)
    pictures = _newest(reader, source)
    first = next(pictures)
    reader.drained.wait(5)
    rest = [int(p.image[0, 0, 0]) for p in pictures]
    assert 1 + len(rest) + source.counts.dropped == 5
    assert (rest or [int(first.image[0, 0, 0])])[-1] == 5


def test_close_ends_the_iteration(folder):
    source = open_source(str(folder))
    frames = iter(source)
    next(frames)
    source.close()
    assert list(frames) == []


def test_peek_takes_no_picture_from_files_and_leaves_none_that_is_old_to_cameras(folder):
    source = open_source(str(folder))
    assert source.peek()[0, 0, 0] == 0
    assert [int(f.image[0, 0, 0]) for f in source] == [0, 20, 40, 60]
    pictures = list(open_source(str(folder)).pictures)
    live = Source("camera", iter(pictures), is_live=True)
    assert live.peek()[0, 0, 0] == 0
    assert [int(f.image[0, 0, 0]) for f in live] == [20, 40, 60]
