import pytest

from distill.errors import DistillError
from distill.files import write_whole


def test_write_whole_makes_the_folder_and_leaves_no_other_file(tmp_path):
    write_whole(tmp_path / "a" / "b.bin", b"123")
    assert (tmp_path / "a" / "b.bin").read_bytes() == b"123"
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b.bin"]


def test_write_whole_full_disk_keeps_the_old_file(tmp_path, full_disk):
    write_whole(tmp_path / "a.bin", b"old")
    with full_disk(1000), pytest.raises(DistillError, match=r"a\.bin: cannot be written .* free some space") as caught:
        write_whole(tmp_path / "a.bin", bytes(5000))
    assert "\n" not in str(caught.value)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a.bin", b"old")]


def test_write_whole_file_in_place_of_the_folder_is_a_clear_error(tmp_path):
    (tmp_path / "runs").write_text("not a folder")
    with pytest.raises(DistillError, match="cannot be written"):
        write_whole(tmp_path / "runs" / "x.bin", b"")
