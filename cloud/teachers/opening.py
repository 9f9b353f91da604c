"""From the name of a teacher to a teacher."""

from __future__ import annotations

from pathlib import Path

from cloud.errors import TeacherError
from cloud.teachers.bundled import BundledTeacher, bundled_teacher
from cloud.teachers.huggingface import FoundationTeacher
from cloud.teachers.onnx_detector import OnnxDetector
from cloud.teachers.teacher import Teacher
from edge.bundle import load_bundle
from edge.errors import ModelError
from edge.student import Student


def open_teacher(name_or_path: str = "bundled", *, threads: int = 0) -> Teacher:
    """The teacher of a name or a path.

    Args:
        name_or_path: `bundled`, the folder of any skyloop bundle, an ONNX detector with its `.toml` beside it, or the
            `.toml` that names folders of `transformers` models (see `huggingface.py`).
        threads: ONNX Runtime threads, 0 for all cores.

    Raises:
        TeacherError: there is none, or its files are damaged.
    """
    path = bundled_teacher() if name_or_path == "bundled" else Path(name_or_path)
    if path.suffix == ".onnx" and path.is_file():
        return OnnxDetector(path, threads=threads)
    if path.suffix == ".toml" and path.is_file():
        return FoundationTeacher(path)
    if not path.is_dir():
        raise TeacherError(
            f"teacher {name_or_path!r}: no such folder; choose 'bundled', the folder of a bundle, an .onnx or a .toml "
            "file"
        )
    try:
        return BundledTeacher(Student.open(load_bundle(path), threads=threads))
    except ModelError as exc:
        raise TeacherError(f"teacher {name_or_path!r}: {exc}") from exc
