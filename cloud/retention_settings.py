"""How long and how much a data folder keeps; `cloud/retention.py` sees to it."""

from __future__ import annotations

from pydantic import Field, model_validator
from typing_extensions import Self

from edge.config import Settings


class RetentionSettings(Settings):
    """What a data folder keeps; 0 is without a bound.

    Attributes:
        enabled: whether the service sees to it; `skyloop-cloud prune` does when it is told to, whatever this says.
        imagery_days: imagery of answered cases goes after so long.
        imagery_bytes: so much imagery is kept; the oldest of answered cases goes first.
        case_days: answered cases go whole after so long, but for their digests.
        cases: so many cases are kept; the oldest answered ones go first.
        event_days: who did what is kept for so long.
        events: and so many of these; a guesser of passwords makes one with each.
        digest_days: digests of cases that went; a craft that offers one again later gets it answered again. No case is
            of use for longer than a year (`protocols.limits.MAX_DURATION_S`).
        drop_reviewed: whether cases that people reviewed may go too, after all others. They are training data.
        every_s: pause between rounds.
        orphan_s: a file of imagery without a case is left alone for so long.
    """

    enabled: bool = True
    imagery_days: float = Field(default=90.0, ge=0, le=36_500)
    imagery_bytes: int = Field(default=50 * 2**30, ge=0, le=2**60)
    case_days: float = Field(default=400.0, ge=0, le=36_500)
    cases: int = Field(default=1_000_000, ge=0, le=2**40)
    event_days: float = Field(default=400.0, ge=0, le=36_500)
    events: int = Field(default=1_000_000, ge=0, le=2**40)
    digest_days: float = Field(default=400.0, ge=0, le=36_500)
    drop_reviewed: bool = False
    every_s: float = Field(default=60.0, ge=0.05, le=86400)
    orphan_s: float = Field(default=3600.0, ge=0, le=366 * 86400)

    @model_validator(mode="after")
    def _imagery_first(self) -> Self:
        if self.case_days and (self.case_days < self.imagery_days or not self.imagery_days):
            raise ValueError(
                f"imagery_days {self.imagery_days:g} outlasts case_days {self.case_days:g}: imagery goes with its case "
                "at the latest; lower imagery_days or raise case_days"
            )
        return self
