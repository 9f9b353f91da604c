"""One bundle as one file: a plain tar whose bytes depend on nothing but the bundle's, read with every doubt.

No compression: weights hardly shrink, and an archive that never grows cannot grow too much. Only regular files with
short plain names are taken: no links, folders, devices, sparse files or extended headers.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from edge.bundle import MANIFEST_NAME, Manifest
from edge.durable import make_folder, sync_folder, write_durably
from edge.errors import UpdateError
from edge.reward import HARDNESS_NAME
from protocols.limits import MAX_BUNDLE_BYTES

MAX_FILES = 32
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_BLOCK_BYTES = 512
_END = bytes(_BLOCK_BYTES)


def flown_files(folder: Path, manifest: Manifest) -> dict[str, bytes]:
    """What of a bundle flies, by file name: its manifest, the files that are run and the fit beside them.

    Raises:
        UpdateError: a file is missing.
    """
    entries = [*manifest.variants.values(), *manifest.extras.values()]
    names = {MANIFEST_NAME, *(entry.file for entry in entries)}
    names |= {HARDNESS_NAME} if (folder / HARDNESS_NAME).is_file() else set()
    try:
        return {name: (folder / name).read_bytes() for name in sorted(names)}
    except OSError as exc:
        raise UpdateError(f"{exc.filename}: cannot be read ({exc.strerror}); export the bundle again") from exc


def pack_files(files: Mapping[str, bytes]) -> bytes:
    """A tar of some files, always the same bytes for the same files.

    Raises:
        UpdateError: too much, too many or a name that no craft takes.
    """
    _check_count(len(files))
    packed = io.BytesIO()
    for name in sorted(files):
        _check_name(name)
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(files[name]), 0o644
        packed.write(info.tobuf(tarfile.USTAR_FORMAT))
        packed.write(files[name] + bytes(-len(files[name]) % _BLOCK_BYTES))
    packed.write(2 * _END)
    if packed.tell() > MAX_BUNDLE_BYTES:
        raise UpdateError(f"the bundle takes {packed.tell()} bytes; at most {MAX_BUNDLE_BYTES}: ship fewer variants")
    return packed.getvalue()


def unpack_files(archive: Path, folder: Path) -> None:
    """Write the files of an archive into a new folder, durably.

    Args:
        archive: not to be trusted.
        folder: is made.

    Raises:
        UpdateError: the archive is malformed, or holds anything but a few regular files with plain names.
        OSError: the disk below fails.
    """
    make_folder(folder)
    for name, content in _files_in(archive):
        write_durably(folder / name, content, sync_parent=False)
    sync_folder(folder)


def _files_in(archive: Path) -> Iterator[tuple[str, bytes]]:
    left, names = archive.stat().st_size, set[str]()
    if left > MAX_BUNDLE_BYTES:
        raise UpdateError(f"an archive of {left} bytes; at most {MAX_BUNDLE_BYTES}")
    with archive.open("rb") as file:
        while (header := file.read(_BLOCK_BYTES)) != _END:
            left -= _BLOCK_BYTES
            info = _checked(header, left)
            if info.name in names:
                raise UpdateError(f"the archive holds {info.name!r} twice")
            names.add(info.name)
            _check_count(len(names))
            padded = info.size + -info.size % _BLOCK_BYTES
            yield info.name, file.read(padded)[: info.size]
            left -= padded


def _checked(header: bytes, left: int) -> tarfile.TarInfo:
    """One entry's header; its size is no more than what is left of the archive."""
    try:
        info = tarfile.TarInfo.frombuf(header, "ascii", "strict")
    except (tarfile.HeaderError, UnicodeDecodeError, ValueError) as exc:
        raise UpdateError(f"the archive is malformed ({type(exc).__name__})") from exc
    if info.type != tarfile.REGTYPE or info.linkname:
        raise UpdateError(f"the archive holds {info.name[:64]!r}, which is no regular file")
    _check_name(info.name)
    if not 0 <= info.size <= left:
        raise UpdateError(f"{info.name}: announces {info.size} bytes where the archive has {left} left")
    return info


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise UpdateError(f"the archive holds the name {name[:64]!r}; plain file names only")


def _check_count(count: int) -> None:
    if count > MAX_FILES:
        raise UpdateError(f"the archive holds over {MAX_FILES} files")
