"""An archive is always the same bytes, and gives plain files or nothing."""

import io
import tarfile

import pytest

from edge.bundle_archive import MAX_FILES, pack_files, unpack_files
from edge.errors import UpdateError

FILES = {"bundle.json": b"{}", "fp32.onnx": bytes(range(256)) * 5, "empty": b""}


def made(entry, content=b"", fmt=tarfile.USTAR_FORMAT):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=fmt) as tar:
        tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def entry(name="x", **fields):
    info = tarfile.TarInfo(name)
    for key, value in fields.items():
        setattr(info, key, value)
    return info


def test_files_survive_and_bytes_depend_on_them_alone(tmp_path):
    packed = pack_files(FILES)
    assert packed == pack_files(dict(reversed(FILES.items())))
    (tmp_path / "a.tar").write_bytes(packed)
    unpack_files(tmp_path / "a.tar", tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == FILES
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert tar.getnames() == sorted(FILES)


@pytest.mark.parametrize(
    "archive",
    [
        pytest.param(made(entry("../escaped", size=1), b"x"), id="path traversal"),
        pytest.param(made(entry("/tmp/escaped", size=1), b"x"), id="absolute path"),
        pytest.param(made(entry("a/b", size=1), b"x"), id="subfolder"),
        pytest.param(made(entry(".hidden", size=1), b"x"), id="hidden"),
        pytest.param(made(entry(type=tarfile.SYMTYPE, linkname="/etc/passwd")), id="symbolic link"),
        pytest.param(made(entry(type=tarfile.LNKTYPE, linkname="bundle.json")), id="hard link"),
        pytest.param(made(entry(type=tarfile.DIRTYPE)), id="folder"),
        pytest.param(made(entry(type=tarfile.CHRTYPE)), id="device"),
        pytest.param(made(entry(type=tarfile.FIFOTYPE)), id="pipe"),
        pytest.param(made(entry(type=tarfile.GNUTYPE_SPARSE)), id="sparse file"),
        pytest.param(made(entry("n" * 200, size=1), b"x", tarfile.PAX_FORMAT), id="extended header"),
        pytest.param(made(entry("n" * 200, size=1), b"x", tarfile.GNU_FORMAT), id="long name"),
        pytest.param(entry(size=2**40).tobuf(tarfile.GNU_FORMAT) + bytes(2048), id="announces a terabyte"),
        pytest.param(entry(size=5000).tobuf(tarfile.USTAR_FORMAT) + bytes(1000), id="cut off"),
        pytest.param(pack_files(FILES)[:700], id="cut off in a file"),
        pytest.param(b"", id="empty"),
        pytest.param(b"\x1f\x8b" + bytes(600), id="compressed"),
        pytest.param(pack_files({"a": b"1"})[:1024] * 2 + bytes(1024), id="the same name twice"),
        pytest.param(b"".join(pack_files({f"f{i}": b""})[:512] for i in range(MAX_FILES + 1)) + bytes(1024), id="many"),
    ],
)
def test_anything_else_is_refused_and_nothing_lands_outside(tmp_path, archive):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.tar").write_bytes(archive)
    with pytest.raises(UpdateError):
        unpack_files(tmp_path / "in" / "a.tar", tmp_path / "in" / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert not any(path.is_symlink() for path in (tmp_path / "in" / "out").iterdir())


def test_names_no_craft_takes_are_not_packed():
    with pytest.raises(UpdateError, match="plain file names only"):
        pack_files({"a b": b""})
