"""Large models that interpret cases; start at `teacher.py`. The bundled one needs nothing but ONNX Runtime."""

from __future__ import annotations

from cloud.teachers.bundled import BundledTeacher, bundled_teacher, open_teacher
from cloud.teachers.teacher import Teacher, TeacherAnswer

__all__ = ["BundledTeacher", "Teacher", "TeacherAnswer", "bundled_teacher", "open_teacher"]
