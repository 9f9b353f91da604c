"""Large models that interpret cases; start at `teacher.py`. The bundled one needs nothing but ONNX Runtime."""

from __future__ import annotations

from cloud.teachers.bundled import BundledTeacher, bundled_teacher
from cloud.teachers.finding import exemplar_of, find_by_features
from cloud.teachers.onnx_detector import OnnxDetector
from cloud.teachers.opening import open_teacher
from cloud.teachers.teacher import Exemplar, Places, Teacher, TeacherAnswer

__all__ = [
    "BundledTeacher",
    "Exemplar",
    "OnnxDetector",
    "Places",
    "Teacher",
    "TeacherAnswer",
    "bundled_teacher",
    "exemplar_of",
    "find_by_features",
    "open_teacher",
]
