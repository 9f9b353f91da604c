"""Every bundle that was ever published here has its twin: a craft may fly it long after it was withdrawn."""

from __future__ import annotations

import structlog

from cloud.registry import Registry
from cloud.twins import Twins
from edge.errors import ModelError

log = structlog.get_logger()


class PublishedTwins:
    """Tells the twins of what is published while the service runs."""

    def __init__(self, registry: Registry, twins: Twins) -> None:
        """Know nothing yet; `look` first."""
        self._registry, self._twins = registry, twins
        self._seen = 0

    def look(self) -> None:
        """Make known what is new since the last look; next to nothing where nothing is."""
        try:
            changed = self._registry.timestamp_path.stat().st_mtime_ns
        except OSError:  # no registry, or just being changed
            return
        if changed == self._seen:
            return
        for folder in self._registry.flown_folders():
            try:
                self._twins.know(folder)
            except ModelError as exc:
                log.warning("a published bundle has no twin", reason=str(exc))
        self._seen = changed
