"""Errors of the cloud service, split by what the caller does next.

SkyloopError
└── CloudError           stop: one clear line for the operator
    ├── StoreError       try again later: the store could not keep or read something (disk full, locked)
    │   └── BankMoved    read the bank again: another process issued a revision in between
    ├── RequestError     tell the person: what was asked for does not exist or does not fit
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
