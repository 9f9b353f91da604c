"""Does the cloud still have what it said it stored? A few delivered cases are kept for a while and asked about again.

To ask is to offer: the cloud answers `stored` again, at the cost of one small message, or wants the imagery, and then
it has forgotten. From then on every delivered case is kept until the cloud has proven itself on some in a row.
"""

from __future__ import annotations

import random

from edge.spool import Spool, SpooledCase

AUDIT_SHARE = 0.01
"""Of delivered cases: as many as the audit of the edge's own judgement sends (1 %)."""

_AFTER_S = 60.0
"""When to ask: a cloud that lost what it had in memory alone has started again by then."""

_MAX_HELD = 8
_TRUST_AFTER = 20
"""Cases in a row the cloud must still have after it forgot one, until a share of them is enough again."""


class ReceiptAudit:
    """Chooses which delivered cases stay, and when the cloud is asked; everything in the link's thread."""

    def __init__(self, spool: Spool, share: float = AUDIT_SHARE, *, rng: random.Random | None = None) -> None:
        """Trust the cloud but for a share.

        Args:
            spool: keeps the files.
            share: of delivered cases that are asked about again, 0 to 1.
            rng: draws them.
        """
        self._spool, self._share = spool, share
        self._random = rng or random.Random()  # noqa: S311 - a sample, no secret
        self._doubts = 0  # cases to prove before a share is enough again
        self._asked_at_s: dict[str, float] = {}

    def begin(self) -> None:
        """A new connection: whoever answers may have started again, so ask about all that is held at once."""
        self._asked_at_s = dict.fromkeys(self._asked_at_s, float("-inf"))

    def hold(self, case_id: str, now_s: float) -> bool:
        """Whether a case just delivered is kept to be asked about."""
        is_drawn = self._doubts > 0 or self._random.random() < self._share
        if not is_drawn or len(self._asked_at_s) >= _MAX_HELD or not self._spool.hold(case_id):
            return False
        self._asked_at_s[case_id] = now_s + _AFTER_S
        return True

    def due(self, now_s: float) -> SpooledCase | None:
        """A case to ask about now, once."""
        for case_id in [case_id for case_id, at_s in self._asked_at_s.items() if at_s <= now_s]:
            if (held := self._spool.held(case_id)) is not None:
                self._asked_at_s[case_id] = float("inf")
                return held
            del self._asked_at_s[case_id]  # it had to make room
        return None

    def passed(self, case_id: str) -> None:
        """The cloud has it, or gave an answer after which asking is of no use."""
        self._doubts = max(0, self._doubts - 1)
        self._asked_at_s.pop(case_id, None)
        self._spool.done(case_id)

    def failed(self, case_id: str) -> None:
        """The cloud forgot it: it goes back into the queue, and so will others until the cloud has proven itself."""
        self._doubts = _TRUST_AFTER
        self._asked_at_s.pop(case_id, None)
        self._spool.take_back(case_id)
