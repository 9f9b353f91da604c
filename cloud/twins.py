"""The twins: the very students that crafts fly, run here to compute their prompts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import structlog

from cloud.chips import CHIP_BANDS
from cloud.errors import PromptRefused
from edge.bundle import bundled_student, load_bundle, read_manifest
from edge.student import Student

log = structlog.get_logger()

_FALLBACKS = ("fp32", "u8s8")
"""Files that ONNX Runtime runs on any machine, closest to a TensorRT engine first."""


class Twins:
    """Student bundles by embedding space, opened when first needed and kept."""

    def __init__(self, folders: Sequence[Path], *, threads: int = 0) -> None:
        """Know the bundles in these folders.

        Raises:
            ModelError: a manifest is missing or malformed.
        """
        self._bundles: dict[str, tuple[Path, tuple[str, ...]]] = {}
        self._bands: dict[str, int] = {}
        for folder in folders:
            self.know(folder)
        self._threads = threads
        self._open: dict[tuple[str, str], Student] = {}

    def know(self, folder: Path) -> None:
        """Know one more bundle, from any thread; of one space the first that was known is the twin.

        Raises:
            ModelError: its manifest is missing or malformed.
        """
        manifest = read_manifest(folder)
        self._bands.setdefault(manifest.space_id, manifest.bands)
        self._bundles.setdefault(manifest.space_id, (folder, tuple(manifest.variants)))

    @property
    def space_ids(self) -> tuple[str, ...]:
        """The embedding spaces prompts can be made for."""
        return tuple(self._bundles)

    def student(self, space_id: str, variant: str) -> Student:
        """The twin of a craft's student.

        Args:
            space_id: of the craft's bundle.
            variant: which file the craft runs; where this machine cannot run it, the closest one.

        Raises:
            PromptRefused: no bundle of this space is known, or its bands do not fit into a case.
            ModelError: the bundle is damaged.
        """
        if space_id not in self._bundles:
            raise PromptRefused(
                f"no bundle here has space {space_id[:12]}, which the craft flies; "
                "start the server with --student FOLDER of that bundle"
            )
        folder, variants = self._bundles[space_id]
        choices = (variant, *_FALLBACKS, *variants)
        chosen = next(name for name in choices if name in variants and not name.startswith("engine"))
        if self._bands[space_id] not in CHIP_BANDS:
            raise PromptRefused(
                f"the craft's student takes {self._bands[space_id]} bands, a case's picture shows at most 3: no prompt "
                "can be made of it; label such cases and train the student with them"
            )
        if (space_id, chosen) not in self._open:
            self._open[space_id, chosen] = Student.open(load_bundle(folder, chosen), threads=self._threads)
            log.info("twin opened", space_id=space_id, variant=chosen, craft_variant=variant)
        return self._open[space_id, chosen]


def student_folders(further: Sequence[Path]) -> list[Path]:
    """Bundles that crafts may fly: the one in the package where it is there, and those the settings name."""
    bundled = bundled_student()
    return [*([bundled] if bundled.is_dir() else []), *further]
