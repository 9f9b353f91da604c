"""What other processes changed in the store: people's answers and prompts taken back on a command line."""

from __future__ import annotations

import structlog

from cloud import banks
from cloud.metrics import CloudMetrics
from cloud.prompt_desk import PromptDesk
from cloud.reviews import use_review
from cloud.store import CaseStore, Review
from protocols.errors import SkyloopError

log = structlog.get_logger()


class Watcher:
    """Puts reviews to use and notices banks that moved; runs in the same worker thread as the interpreter."""

    def __init__(self, store: CaseStore, desk: PromptDesk, metrics: CloudMetrics) -> None:
        self._store, self._desk, self._metrics = store, desk, metrics
        self._version = -1
        self._revisions = store.bank_revisions()

    @property
    def is_due(self) -> bool:
        """Whether anybody wrote since the last look; takes microseconds."""
        version = self._store.data_version()
        if version == self._version:
            return False
        self._version = version
        return True

    def look(self) -> list[str]:
        """Use what is waiting; returns the crafts that there is something new for.

        Raises:
            StoreError: the store failed; what waits stays.
        """
        answered = {review.craft for review in self._store.waiting_reviews() if self._use(review)}
        banks.join_fleet(self._store, self._desk.clock.wall_s())
        before, self._revisions = self._revisions, self._store.bank_revisions()
        moved = {craft for craft, revision in self._revisions.items() if before.get(craft) != revision}
        return sorted(answered | moved)

    def _use(self, review: Review) -> bool:
        """Use one answer; True when its craft is to be told."""
        try:
            outcome = use_review(review, self._store, self._desk)
        except SkyloopError as exc:
            self._finish(review, "failed", str(exc))
            return False
        except Exception as exc:
            log.exception("review failed", review_id=review.review_id, case_id=review.case_id)
            self._finish(review, "failed", f"{type(exc).__name__}: {exc}")
            return False
        self._metrics.prompts.labels("person", outcome.state).inc()
        self._finish(review, "failed" if outcome.state == "refused" else "done", outcome.reason)
        return True

    def _finish(self, review: Review, state: str, reason: str) -> None:
        self._store.finish_review(review.review_id, "done" if state == "done" else "failed", reason)
        self._metrics.reviews.labels(state).inc()
