import numpy as np
import pytest
from moving_target import MovingTarget

from sim.errors import RecordError
from sim.tracking_data import is_box, read_sequence, read_sequences


@pytest.mark.parametrize("blank", [",", " ", "\t", ", "], ids=["comma", "blank", "tab", "both"])
def test_read_sequences_finds_them_at_any_depth(tmp_path, blank):
    for name in ("b", "deep/a"):
        folder = MovingTarget().write(tmp_path / name, 3)
        text = (folder / "groundtruth.txt").read_text()
        (folder / "groundtruth.txt").write_text(text.replace(",", blank))
    (tmp_path / "b" / "fps.txt").write_text("12.5\n")
    found = read_sequences(tmp_path)
    assert [(video.name, video.fps, len(video.pictures)) for video in found] == [("b", 12.5, 3), ("deep/a", 30.0, 3)]
    np.testing.assert_allclose(found[0].truth_xywh[1], [89, 72, 28, 20])
    assert found[0].image(2).shape == (240, 320, 3)


def test_read_sequences_one_folder_is_a_sequence_itself(tmp_path):
    assert [v.name for v in read_sequences(MovingTarget().write(tmp_path / "one", 3))] == ["one"]


def test_read_sequence_absent_target_is_known(tmp_path):
    folder = MovingTarget().write(tmp_path / "a", 4, absent=(2,))
    text = (folder / "groundtruth.txt").read_text().splitlines()
    (folder / "groundtruth.txt").write_text("\n".join([*text[:3], "0,0,0,0"]))
    assert is_box(read_sequence(folder, "a").truth_xywh).tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: (f / "img" / "0002.png").unlink(), "3 pictures in img and 4 lines in groundtruth.txt"),
        (lambda f: (f / "img" / "0002.png").rename(f / "img" / "0009.png"), "picture 2 is missing from img and 4"),
        (lambda f: (f / "groundtruth.txt").write_text("1,2,3,4\n1,2,3\n"), "line 2: '1,2,3' is not x,y,w,h"),
        (lambda f: (f / "groundtruth.txt").write_text("1,2,a,4\n"), "line 1"),
        (lambda f: (f / "groundtruth.txt").write_text("NaN,NaN,NaN,NaN\n" * 4), "the first with a box"),
        (lambda f: (f / "fps.txt").write_text("fast"), "no number of frames a second"),
        (lambda f: (f / "img").rename(f / "pictures"), "no folder img"),
    ],
    ids=["other-length", "gap", "three-numbers", "letters", "no-first", "fps", "no-img"],
)
def test_read_sequence_refuses_what_is_not_whole(tmp_path, damage, words):
    folder = MovingTarget().write(tmp_path / "a", 4)
    damage(folder)
    with pytest.raises(RecordError, match=words):
        read_sequence(folder, "a")


def test_image_that_is_damaged_is_named(tmp_path):
    folder = MovingTarget().write(tmp_path / "a", 3)
    (folder / "img" / "0002.png").write_bytes(b"nothing")
    with pytest.raises(RecordError, match=r"0002\.png"):
        read_sequence(folder, "a").image(1)


def test_read_sequences_of_nothing_says_what_is_wanted(tmp_path):
    with pytest.raises(RecordError, match="holds no sequence"):
        read_sequences(tmp_path)
