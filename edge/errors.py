"""Errors of the edge agent, split by what the caller does next.

SkyloopError
└── EdgeError
    ├── ConfigError      stop: the operator must change something
    │   └── KeyFileError    a key file is missing, malformed or readable by others
    ├── CaptureError     stop: the source cannot be opened
    │   └── DecodeError     skip the file: it is damaged
    ├── ModelError       stop or fall back: a bundle is damaged or does not fit
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


class ModelError(EdgeError):
    """A bundle is damaged or does not fit this software."""


class SpoolError(EdgeError):
    """A case could not be kept."""


class BankError(EdgeError):
    """A prompt bank could not be opened or kept."""
