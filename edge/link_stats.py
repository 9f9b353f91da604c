"""What the link counts."""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class LinkStats:
    """Counts since the link was made; bytes are those of both frames of each message, before encryption.

    Attributes:
        connected: whether the cloud has welcomed this connection and it lives.
        connects: connections that were welcomed.
        reconnects: attempts after the first.
        bytes_sent, bytes_received: see above.
        messages_sent, messages_received: whole messages.
        cases_delivered: stored durably by the cloud.
        cases_forgotten: stored by the cloud's own word, and wanted again when it was asked later; they are sent again.
        cases_refused: never wanted again by the cloud, or impossible to send.
        prompts_applied: updates that changed which prompts are held.
        prompts_refused: updates that did not fit, were damaged, or could not be kept.
        interpretations: handed over.
        interpretations_unkept: that the disk refused; the cloud sends them again.
        receipts_unknown: for cases that are not here.
        problems: `Problem` messages from the cloud.
        malformed: messages from the cloud that break the protocol.
        floods: times the cloud sent more than anything here asks for, and had to wait.
        spool_errors: cases lost to a full or broken disk.
        faults: exceptions nobody expected, each in the log with its traceback.
    """

    connected: bool = False
    connects: int = 0
    reconnects: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    messages_sent: int = 0
    messages_received: int = 0
    cases_delivered: int = 0
    cases_forgotten: int = 0
    cases_refused: int = 0
    prompts_applied: int = 0
    prompts_refused: int = 0
    interpretations: int = 0
    interpretations_unkept: int = 0
    receipts_unknown: int = 0
    problems: int = 0
    malformed: int = 0
    floods: int = 0
    spool_errors: int = 0
    faults: int = 0


class LinkCounter:
    """The counts while the link runs: its threads add, anybody reads."""

    def __init__(self) -> None:
        self._counts = asdict(LinkStats())
        self._lock = threading.Lock()

    @property
    def stats(self) -> LinkStats:
        """The counts as they are now."""
        with self._lock:
            return LinkStats(**self._counts)

    @property
    def connected(self) -> bool:
        """Whether the connection lives."""
        return bool(self._counts["connected"])

    def add(self, **increments: int) -> None:
        """Raise the named counts."""
        with self._lock:
            for name, by in increments.items():
                self._counts[name] += by

    def mark_connected(self, connected: bool) -> None:
        """Say whether the connection lives."""
        with self._lock:
            self._counts["connected"] = connected
