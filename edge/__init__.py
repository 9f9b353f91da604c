"""What flies: capture → perceive → decide → send / act. Without torch; numpy, OpenCV and ONNX Runtime are enough.

Start at `agent.py`, then follow one frame: `capture.py`, `student.py`, `prompting.py`, `tracking.py`, `targets.py`,
`hardness.py` (together in `pipeline.py`), `scheduler.py` (`policies.py`, `regions.py`, `coding.py`, `byte_budget.py`),
`spool.py` (`case_queue.py`), `link.py`, and back: `refinements.py`.
"""

from __future__ import annotations

from edge.agent import Agent, AgentSettings
from edge.bundle import Bundle, Manifest, bundled_student, load_bundle
from edge.capture import Frame, Source, open_source
from edge.errors import CaptureError, ConfigError, EdgeError, KeyFileError, ModelError, SpoolError
from edge.pipeline import FramePipeline, FrameResult, PipelineSettings
from edge.prompting import PromptMatcher
from edge.student import Perception, Student

__all__ = [
    "Agent",
    "AgentSettings",
    "Bundle",
    "CaptureError",
    "ConfigError",
    "EdgeError",
    "Frame",
    "FramePipeline",
    "FrameResult",
    "KeyFileError",
    "Manifest",
    "ModelError",
    "Perception",
    "PipelineSettings",
    "PromptMatcher",
    "Source",
    "SpoolError",
    "Student",
    "bundled_student",
    "load_bundle",
    "open_source",
]
