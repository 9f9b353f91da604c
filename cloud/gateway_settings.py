"""What the gateway is told, and what it counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from pydantic import Field

from edge.config import Settings
from protocols import limits
from protocols.messages import Hello
from protocols.prompts import BankRef


class GatewaySettings(Settings):
    """Settings of the gateway.

    Attributes:
        bind: endpoint crafts connect to.
        credit_bytes: chunk bytes one craft may have in flight.
        heartbeat_s: how often each side says that it lives.
        liveness_s: a craft that was silent for so long is taken for gone (at least six heartbeats).
        max_crafts: connected at one time.
        max_partial_bytes: imagery of unfinished uploads in memory, all crafts together.
        max_partials: cases of one craft that are not stored yet; together at most four of the largest size.
        max_unreceipted: interpretations on their way to one craft.
        receipt_patience_s: an update without a receipt for so long is sent again.
        retry_after_s: what a craft is told when the store cannot take its case now.
    """

    bind: str = "tcp://127.0.0.1:7600"
    credit_bytes: int = Field(default=2**20, ge=limits.CHUNK_BYTES, le=limits.MAX_CREDIT_BYTES)
    heartbeat_s: float = Field(default=limits.DEFAULT_HEARTBEAT_S, ge=limits.MIN_HEARTBEAT_S, le=limits.MAX_HEARTBEAT_S)
    liveness_s: float = Field(default=10.0, gt=0, le=3600)
    max_crafts: int = Field(default=1024, ge=1)
    max_partial_bytes: int = Field(default=256 * 2**20, ge=limits.MAX_CASE_BYTES)
    max_partials: int = Field(default=32, ge=1, le=limits.MAX_OPEN_CASES)
    max_unreceipted: int = Field(default=16, ge=1, le=256)
    receipt_patience_s: float = Field(default=60.0, gt=0)
    retry_after_s: float = Field(default=5.0, gt=0, le=limits.MAX_DURATION_S)


@dataclass
class GatewayStats:
    """Counts since the gateway was made; bytes are those of both frames of each message, before encryption.

    Attributes:
        messages: by (direction, kind), direction `edge_to_cloud` or `cloud_to_edge`.
        bytes_received, bytes_sent: see above.
        refused: messages refused, by problem code.
        not_enrolled: messages of keys that are not enrolled, or no longer.
        unreachable: messages to crafts that had gone.
        cases: by verdict `stored`, `duplicate`, `conflict`, `failed` (the store could not keep it).
        prompts: updates by `applied`, `refused`, `unanswered`.
        interpretations_sent, interpretations_delivered: answers to cases.
        targets: crafts' words about targets, by state.
        refinements: refusals to show a case again, by problem code.
        bundles: crafts' words about bundles, by state.
        faults: exceptions nobody expected, each in the log with its traceback.
        crafts_online: connected and welcomed now.
    """

    messages: Counter[tuple[str, str]] = field(default_factory=Counter)
    bytes_received: int = 0
    bytes_sent: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    not_enrolled: int = 0
    unreachable: int = 0
    cases: Counter[str] = field(default_factory=Counter)
    prompts: Counter[str] = field(default_factory=Counter)
    interpretations_sent: int = 0
    interpretations_delivered: int = 0
    targets: Counter[str] = field(default_factory=Counter)
    refinements: Counter[str] = field(default_factory=Counter)
    bundles: Counter[str] = field(default_factory=Counter)
    faults: int = 0
    crafts_online: int = 0


@dataclass
class CraftLive:
    """What one craft was last heard to be, since the gateway was made; wall times are the cloud's.

    Attributes:
        is_online: welcomed, and not gone.
        since_s: begin of the newest connection.
        heard_s: the last message.
        bytes_received, bytes_sent: of both frames of each message, before encryption.
        bank: the prompt bank it says it holds.
        spool_cases, spool_bytes: what waits on the craft, by its last heartbeat.
        hello: its last one: software, student, labels, kinds.
    """

    is_online: bool = False
    since_s: float | None = None
    heard_s: float | None = None
    bytes_received: int = 0
    bytes_sent: int = 0
    bank: BankRef | None = None
    spool_cases: int = 0
    spool_bytes: int = 0
    hello: Hello | None = None

    def greet(self, hello: Hello, now_s: float) -> None:
        """Note that it is welcome."""
        self.is_online, self.since_s, self.bank, self.hello = True, now_s, hello.bank, hello
