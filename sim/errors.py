"""Errors of the simulator, split by what the caller does next.

SkyloopError
└── SimError             stop: the thing, the limit and the cure are in the message
    ├── ScenarioError    choose another scene, seed or length
    │   └── OptionError  mend the command line; the process ends with 2
    ├── OutputError      the output folder cannot be used: choose another one, or free some space
    ├── ProcessError     a program we started did not come up, or ended before its time: read its log
    ├── RecordError      what a run left behind cannot be read or does not belong together
    └── LoopOpenError    everything ran, but the loop between edge and cloud did not close
"""

from __future__ import annotations

from protocols.errors import SkyloopError


class SimError(SkyloopError):
    """A simulation cannot go on."""


class ScenarioError(SimError):
    """No such scene, or it cannot last that long."""


class OptionError(ScenarioError):
    """An option's value, or options together, that cannot be meant: the command line's own fault."""

    exit_code = 2


class OutputError(SimError):
    """The output folder cannot be used."""


class ProcessError(SimError):
    """A program we started did not come up, or ended before its time."""


class RecordError(SimError):
    """What a run left behind cannot be read or does not belong together."""


class LoopOpenError(SimError):
    """The demo ran to its end, but the loop did not close."""
