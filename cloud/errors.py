"""Errors of the cloud service, split by what the caller does next.

SkyloopError
└── CloudError           stop: one clear line for the operator
    ├── StoreError       try again later: the store could not keep or read something (disk full, locked)
    │   └── BankMoved    read the bank again: another process issued a revision in between
    ├── RequestError     tell the person: what was asked for does not exist or does not fit
    │   ├── NotThere            tell the person: no such case, craft, prompt, target or review
    │   └── ReviewedMeanwhile   show the person the other answer: somebody was faster
    ├── TeacherError     stop, or skip the batch: a teacher cannot be opened or fails
    └── PromptRefused    answer without a prompt: this case does not make a good one
"""

from __future__ import annotations

from protocols.errors import SkyloopError


class CloudError(SkyloopError):
    """Something in the cloud cannot go on."""


class StoreError(CloudError):
    """The case store could not keep or read something."""


class BankMoved(StoreError):
    """Another process issued a revision of this bank in between."""


class RequestError(CloudError):
    """A person asked for something that does not exist or does not fit."""


class NotThere(RequestError):
    """What a person named is not there."""


class ReviewedMeanwhile(RequestError):
    """Somebody else answered a case while a person was looking at it.

    Attributes:
        reviewer: who.
        made_at_s: wall time of that answer.
        count: how many answers there are now.
    """

    def __init__(self, reviewer: str, made_at_s: float, count: int) -> None:
        super().__init__(f"{reviewer} answered this case meanwhile; look at that answer, then send yours again")
        self.reviewer, self.made_at_s, self.count = reviewer, made_at_s, count


class LabelsChanged(RequestError):
    """A craft knows other classes than a person who answers a case was shown."""


class TeacherError(CloudError):
    """A teacher cannot be opened or cannot interpret."""


class PromptRefused(CloudError):
    """A case does not make a prompt that would help.

    Attributes:
        reason: readable, for the log and the reviewer.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
