"""The errors of the project's first package, and the root of everybody's tree.

Split by what the caller does next::

    SkyloopError                 catch this at the top of a command: one clear line, exit code != 0
    ├── MessageError             drop the message, count it by `code`, perhaps answer with a Problem
    ├── ImageryError             this image cannot be used: drop the image, keep the record
    └── ShapeError (ValueError)  an array is not what was promised: a bug in the caller, let it rise

The other packages hang their own errors (link, configuration, model) under `SkyloopError`.
"""

from __future__ import annotations


class SkyloopError(Exception):
    """Root of every error this project raises on purpose."""


class MessageError(SkyloopError):
    """A message, or a value that came in one, breaks the protocol.

    Attributes:
        code: one of the problem codes of `protocols.messages.PROBLEM_CODES`; counters are kept per code and
            a `Problem` answered to the peer carries it.
    """

    def __init__(self, detail: str, *, code: str = "malformed") -> None:
        """Say what is wrong: value, limit and cure in `detail`, the kind of fault in `code`."""
        super().__init__(detail)
        self.code = code


class ImageryError(SkyloopError):
    """Image bytes or an image array cannot be encoded, measured or decoded within the limits."""


class ShapeError(SkyloopError, ValueError):
    """An array has another shape, dtype or range than the function promised to take."""
