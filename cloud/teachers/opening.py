"""From the name of a teacher to a teacher."""

from __future__ import annotations

from pathlib import Path

from cloud.errors import TeacherError
from cloud.teachers.bundled import BundledTeacher, bundled_teacher
from cloud.teachers.huggingface import FoundationTeacher
from cloud.teachers.matcher import open_matcher
from cloud.teachers.onnx_detector import OnnxDetector
from cloud.teachers.plug_ins import open_plug_in, plug_in_names
from cloud.teachers.teacher import Teacher
from edge.bundle import load_bundle
from edge.errors import ModelError
from edge.student import Student

_BUNDLED = "bundled"


def open_teacher(name_or_path: str = _BUNDLED, *, threads: int = 0) -> Teacher:
    """The teacher of a name or a path.

    Args:
        name_or_path: `bundled`; the folder of any skyloop bundle; an ONNX detector with its `.toml` beside it; the
            `.toml` that names folders of `transformers` models (see `huggingface.py`); or `NAME` or `NAME:TEXT` of an
            installed plug-in (see `plug_ins.py`). A plug-in's name wins over a path: write `./NAME` for a folder.
        threads: ONNX Runtime threads, 0 for all cores; a plug-in is told, too.

    Raises:
        TeacherError: there is none, its files are damaged, or its package does not work.
    """
    name, _, told = name_or_path.partition(":")
    plug_ins = [offered for offered in plug_in_names() if offered != _BUNDLED]  # nobody takes our own name
    if name in plug_ins:
        return open_plug_in(name, told, threads=threads)
    path = bundled_teacher() if name_or_path == _BUNDLED else Path(name_or_path)
    if path.suffix == ".onnx" and path.is_file():
        return OnnxDetector(path, threads=threads)
    if path.suffix == ".toml" and path.is_file():
        return FoundationTeacher(path)
    if not path.is_dir():
        names = ", ".join(repr(name) for name in (_BUNDLED, *plug_ins))
        raise TeacherError(
            f"teacher {name_or_path!r}: no such name, folder or file; choose {names}, the folder of a bundle, an .onnx "
            "or a .toml file"
        )
    try:
        student = Student.open(load_bundle(path), threads=threads)
    except ModelError as exc:
        raise TeacherError(f"teacher {name_or_path!r}: {exc}") from exc
    return BundledTeacher(student, open_matcher(student, threads=threads))
