"""What cases may cost: so many bytes a second, and so many until a contact closes, fairly between classes.

Where contacts with the ground are known, their bytes are spent over all the time until they close: what is earned
before a contact opens waits in the spool for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from pydantic import AwareDatetime, Field, model_validator
from typing_extensions import Self

from edge.clock import Clock, SystemClock
from edge.config import Settings
from edge.fairness import FairShares

_RESERVED = 0.5
"""Of what may pile up: kept for classes that had less than their share."""


class ContactWindow(Settings):
    """A time in which the ground can be reached, as it is planned.

    Attributes:
        opens, closes: with their time zone.
        bytes: of imagery that the link will carry in it.
    """

    opens: AwareDatetime
    closes: AwareDatetime
    bytes: int = Field(gt=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.closes <= self.opens:
            raise ValueError(f"closes {self.closes} is not after opens {self.opens}; turn them round")
        return self


def in_order(contacts: tuple[ContactWindow, ...]) -> tuple[ContactWindow, ...]:
    """The windows by time.

    Raises:
        ValueError: two of them overlap.
    """
    ordered = tuple(sorted(contacts, key=lambda window: window.opens))
    for first, second in pairwise(ordered):
        if second.opens < first.closes:
            raise ValueError(f"the window that opens {second.opens} overlaps the one before; join them")
    return ordered


class ByteBudget:
    """Both budgets; time is the capture time on the monotonic clock."""

    def __init__(
        self,
        bytes_per_s: float,
        burst_bytes: float,
        contacts: Sequence[ContactWindow] = (),
        clock: Clock | None = None,
    ) -> None:
        """Start with a full budget by the second, and nothing earned of the first contact.

        Args:
            bytes_per_s: long-run mean.
            burst_bytes: how much unspent budget may pile up.
            contacts: planned, in order; after the last one, and without any, only the budget by the second rules.
            clock: tells which wall time a monotonic one is.
        """
        self._bytes_per_s, self._burst_bytes = bytes_per_s, burst_bytes
        self._contacts, self._clock = contacts, clock or SystemClock()
        self._tokens = burst_bytes
        self._last_s: float | None = None
        self._begun_s: float | None = None  # wall time from which the contact at hand is earned
        self._at, self._spent = 0, 0.0  # index of that contact, and what was spent of it
        self._contact_left = float("inf")
        self.shares = FairShares()

    @property
    def left_bytes(self) -> float:
        """What is left, at the time of the last call; below 0 where it is overdrawn."""
        return min(self._tokens, self._contact_left)

    @property
    def scarcity(self) -> float:
        """How dear bytes are: 0 while the budget is full, 1 where nothing is left."""
        return min(max(1 - self.left_bytes / max(self._burst_bytes, 1.0), 0.0), 1.0)

    def affords(self, now_s: float, name: str = "") -> bool:
        """Whether anything is left.

        Args:
            now_s: a capture time.
            name: the class that wants to spend now; one that had its share leaves half to the others. Without a name
                nobody is meant in particular.
        """
        self._earn(now_s)
        if not name:
            return self.left_bytes > 0
        self.shares.want(name, now_s)
        has_its_share = self.shares.has_its_share(name, now_s)
        return self.left_bytes > (_RESERVED * self._burst_bytes if has_its_share else 0)

    def charge(self, amount: int, name: str = "") -> None:
        """Take what was sent off, on the account of a class."""
        self._tokens -= amount
        self._spent += amount
        self._contact_left -= amount
        if name and self._last_s is not None:
            self.shares.give(name, amount, self._last_s)

    def _earn(self, now_s: float) -> None:
        elapsed_s = 0.0 if self._last_s is None else max(now_s - self._last_s, 0.0)
        self._last_s = now_s
        self._tokens = min(self._tokens + elapsed_s * self._bytes_per_s, self._burst_bytes)
        if self._contacts:
            self._contact_left = self._earned_of_contact(now_s) - self._spent

    def _earned_of_contact(self, now_s: float) -> float:
        """Bytes of the contact at hand that may be spent by now, in proportion to the time until it closes."""
        wall_s = self._clock.wall_s() - self._clock.monotonic_s() + now_s
        self._begun_s = wall_s if self._begun_s is None else self._begun_s
        while self._at < len(self._contacts) and self._contacts[self._at].closes.timestamp() <= wall_s:
            over = self._contacts[self._at]
            self._spent = max(self._spent - over.bytes, 0.0)  # what was overdrawn is owed to the next one
            self._begun_s = max(self._begun_s, over.closes.timestamp())
            self._at += 1
        if self._at == len(self._contacts):
            return float("inf")
        window = self._contacts[self._at]
        share = (wall_s - self._begun_s) / max(window.closes.timestamp() - self._begun_s, 1e-9)
        return window.bytes * min(max(share, 0.0), 1.0)
