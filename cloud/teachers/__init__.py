"""Large models that interpret cases; start at `teacher.py`. The bundled one needs nothing but ONNX Runtime."""

from __future__ import annotations

from cloud.teachers.bundled import BundledTeacher, bundled_teacher
from cloud.teachers.onnx_detector import OnnxDetector
from cloud.teachers.opening import open_teacher
from cloud.teachers.teacher import Teacher, TeacherAnswer

__all__ = ["BundledTeacher", "OnnxDetector", "Teacher", "TeacherAnswer", "bundled_teacher", "open_teacher"]
