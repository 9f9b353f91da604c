"""Errors of the edge agent, split by what the caller does next.

SkyloopError
└── EdgeError
    ├── ConfigError      stop: the operator must change something
    │   └── KeyFileError    a key file is missing, malformed or readable by others
    ├── CaptureError     stop: the source cannot be opened
    │   └── DecodeError     skip the file: it is damaged
    ├── TargetError      refuse it: what is to be followed cannot be, in this frame
    ├── ModelError       stop: a bundle is damaged or does not fit
    │   └── RuntimeUnavailable  fall back: this machine cannot run it that way
    ├── UpdateError      keep flying the bundle in use: another one cannot be had, or must not be flown
    ├── SpoolError       keep flying: a case could not be kept; it is counted
    └── BankError        keep flying with the old prompts: the new bank could not be kept
"""

from __future__ import annotations

from protocols.errors import SkyloopError


class EdgeError(SkyloopError):
    """Something on the edge cannot go on."""


class ConfigError(EdgeError):
    """A setting is unknown, missing or impossible."""


class KeyFileError(ConfigError):
    """A key file is missing, malformed or readable by others."""


class CaptureError(EdgeError):
    """A source of frames cannot be opened."""


class DecodeError(CaptureError):
    """A file of a source is damaged."""


class TargetError(EdgeError):
    """A target that is to be followed cannot be."""


class ModelError(EdgeError):
    """A bundle is damaged or does not fit this software."""


class RuntimeUnavailable(ModelError):
    """This machine cannot run a bundle the way that was tried; another way may do."""

    def __init__(self, reason: str, cure: str) -> None:
        """Say why.

        Args:
            reason: what is missing or wrong.
            cure: what makes it work.
        """
        super().__init__(f"{reason}; {cure}")
        self.reason = reason


class UpdateError(EdgeError):
    """A bundle that is offered cannot be had, or must not be flown."""


class NotNow(UpdateError):
    """A bundle that is offered cannot be had for a reason that passes, and may be offered again."""


class SpoolError(EdgeError):
    """A case could not be kept."""


class BankError(EdgeError):
    """A prompt bank could not be opened or kept."""
