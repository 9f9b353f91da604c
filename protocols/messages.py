"""The messages of wire v1, and the only code that turns them into bytes and back.

A message is exactly two frames: a msgpack header, and a blob that is empty but for the kinds that carry slices:
CaseChunk, PromptUpdate, BundleChunk, and CaseOffer where the cloud's Welcome allows it. Here are those that v1 began
with; `target_messages.py` and `bundle_messages.py` hold the others. The header is a map tagged by `kind`.
`encode` and `decode` are the border: whatever a peer sends, `decode` returns a checked message or raises
`MessageError`, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeAlias

import msgpack
from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_serializer,
)
from typing_extensions import Self

from protocols import limits
from protocols.bundle_messages import BundleChunk as BundleChunk
from protocols.bundle_messages import BundleOffer as BundleOffer
from protocols.bundle_messages import BundleReceipt as BundleReceipt
from protocols.errors import MessageError
from protocols.fields import (
    CaseId,
    Counter,
    Duration,
    Id,
    Label,
    Message,
    Reason,
    Sha256,
    Text,
    WallTime,
)
from protocols.reassembly import Reassembly as Reassembly
from protocols.reassembly import slices as slices
from protocols.target_messages import RefineRequest as RefineRequest
from protocols.target_messages import TargetStatus as TargetStatus
from protocols.target_messages import TrackTarget as TrackTarget
from protocols.values import BankChange, BankRef, Case, Interpretation

PROBLEM_CODES: dict[str, str] = {
    "malformed": "not two frames, not msgpack, or not a map with v and kind",
    "too_large": "a frame, blob, slice or total is over its limit",
    "version": "v is not spoken here",
    "unknown_kind": "the kind is not spoken here (also every reserved kind)",
    "bad_value": "a field is missing, of the wrong type or out of bounds",
    "bad_blob": "a blob where none belongs, or none where one does",
    "gap": "a slice starts behind the next expected offset: resume from the offset in the receipt",
    "bad_digest": "all bytes are there but their sha256 is another: send again from offset 0",
    "bank_mismatch": "the base or the resulting digest of a bank change is another: send a snapshot",
    "case_conflict": "this case_id was offered before with another payload_sha256",
    "unknown_case": "a chunk or receipt for a case that was not offered",
    "not_welcome": "a message before Hello and Welcome",
    "not_enrolled": "this key is not enrolled, or no longer",
    "frame_gone": "the frame of this case is not held any more: ask sooner",
    "busy": "try again after retry_after_s",
}
"""Every code of a `Problem` in v1 with its meaning; a reader takes an unlisted code for `malformed`."""

KindName: TypeAlias = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z][A-Za-z0-9]{0,31}$")]
CaseOffset: TypeAlias = Annotated[int, Field(ge=0, le=limits.MAX_CASE_BYTES)]
Credit: TypeAlias = Annotated[int, Field(ge=0, le=limits.MAX_CREDIT_BYTES)]
Kinds: TypeAlias = Annotated[tuple[KindName, ...], Field(max_length=limits.MAX_KINDS)]


class Hello(Message):
    """Edge to cloud, first after every connect.

    Attributes:
        craft_software: name and version.
        boot_id: new at every start of the craft's computer; says whether its monotonic clock went on.
        session_id: new at every connect; Welcome repeats it.
        kinds: the kinds this side understands.
        space_id: of the student in use.
        variant: of the student in use.
        labels: the classes the student knows.
        bank: the prompt bank held.
        wall_time_s: the craft's clock when it sent this.
        wants_credit_bytes: window the craft would like for chunks; 0 leaves it to the cloud.
        bundle_id: of the published bundle in use; None is one that the craft was given by hand.
    """

    kind: Literal["Hello"] = "Hello"
    craft_software: Text
    boot_id: Id
    session_id: Id
    kinds: Kinds
    space_id: Text
    variant: Text
    labels: tuple[Label, ...] = Field(default=(), max_length=limits.MAX_LABELS)
    bank: BankRef
    wall_time_s: WallTime
    wants_credit_bytes: Credit = 0
    bundle_id: Id | None = None

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what came within v1, where it is not set."""
        return {name: told for name, told in handler(self).items() if told is not None}


class Welcome(Message):
    """Cloud to edge, the answer to Hello.

    Attributes:
        server_software: name and version.
        session_id: of the Hello it answers; any other is stale and ignored.
        kinds: the kinds this side understands.
        credit_bytes: window for chunks, see `CaseReceipt`.
        heartbeat_s: how often each side sends a Heartbeat when it has nothing else to send.
        wall_time_s: the cloud's clock when it sent this.
        bank: the prompt bank the craft should hold; an update follows if it holds another.
        chunk_bytes: largest blob of a CaseChunk that the cloud takes, and of a CaseOffer; None is CHUNK_BYTES and none.
        open_cases: cases of one craft that it holds at a time, offered and not stored yet; None is OPEN_CASES.
    """

    kind: Literal["Welcome"] = "Welcome"
    server_software: Text
    session_id: Id
    kinds: Kinds
    credit_bytes: Credit
    heartbeat_s: float = Field(default=limits.DEFAULT_HEARTBEAT_S, ge=limits.MIN_HEARTBEAT_S, le=limits.MAX_HEARTBEAT_S)
    wall_time_s: WallTime
    bank: BankRef
    chunk_bytes: int | None = Field(default=None, ge=limits.CHUNK_BYTES, le=limits.MAX_CASE_BYTES)
    open_cases: int | None = Field(default=None, ge=1, le=limits.MAX_OPEN_CASES)

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what came within v1, where it is not set."""
        return {name: told for name, told in handler(self).items() if told is not None}


class Heartbeat(Message):
    """Either way: proves life when there is nothing else to send; goes between chunks.

    Attributes:
        seq: counts this side's heartbeats of the session.
        wall_time_s: sender's clock.
        spool_cases: cases waiting on the edge.
        spool_bytes: their imagery.
        bank: the bank held (edge) or due (cloud), where worth saying.
        credit_bytes: cloud only: a new window, to wake a craft whose credit was 0; None leaves it as it is.
    """

    kind: Literal["Heartbeat"] = "Heartbeat"
    seq: Counter
    wall_time_s: WallTime
    spool_cases: Counter = 0
    spool_bytes: Counter = 0
    bank: BankRef | None = None
    credit_bytes: Credit | None = None


class CaseOffer(Message):
    """Edge to cloud: here is a case; its receipt says from which offset to send the imagery.

    To a cloud whose Welcome gives `chunk_bytes` the blob may hold the imagery's first bytes.
    """

    kind: Literal["CaseOffer"] = "CaseOffer"
    case: Case


class CaseChunk(Message):
    """Edge to cloud: one slice of a case's imagery; the blob holds at least one byte from `offset`.

    At most CHUNK_BYTES, or as many as the cloud's Welcome said that it takes, and never over MAX_CHUNK_BYTES.
    """

    kind: Literal["CaseChunk"] = "CaseChunk"
    case_id: CaseId
    offset: CaseOffset


class CaseReceipt(Message):
    """Cloud to edge: how far a case has come. `stored` is durable: the edge may forget the imagery.

    Attributes:
        case_id: which.
        payload_sha256: of the case as offered; binds the receipt to these very bytes.
        state: `partial` send on from next_offset; `stored` done; `refused` do not send again.
        next_offset: bytes of imagery held, in order from 0.
        credit_bytes: window: most chunk bytes the edge may have sent, over all cases together, that no
            receipt has covered yet. The newest value rules, it does not add up; 0 is a pause.
        retry_after_s: wait this long before the next offer or chunk.
        reason: for refused, readable.
    """

    kind: Literal["CaseReceipt"] = "CaseReceipt"
    case_id: CaseId
    payload_sha256: Sha256
    state: Literal["partial", "stored", "refused"]
    next_offset: CaseOffset
    credit_bytes: Credit
    retry_after_s: Duration | None = None
    reason: Reason = ""


class InterpretationMessage(Message):
    """Cloud to edge: the answer to a case; repeated on every connect until its receipt has come."""

    kind: Literal["Interpretation"] = "Interpretation"
    interpretation: Interpretation


class InterpretationReceipt(Message):
    """Edge to cloud: the interpretation is kept durably."""

    kind: Literal["InterpretationReceipt"] = "InterpretationReceipt"
    case_id: CaseId


class PromptUpdate(Message):
    """Cloud to edge: one slice of a packed `BankChange`; the blob holds 1..CHUNK_BYTES bytes from `offset`.

    Attributes:
        update_id: the same for all slices of one change.
        target: the bank that results.
        total_bytes: size of the packed change.
        offset: of this slice.
        sha256: of the whole packed change.
    """

    kind: Literal["PromptUpdate"] = "PromptUpdate"
    update_id: Id
    target: BankRef
    total_bytes: int = Field(ge=1, le=limits.MAX_UPDATE_BYTES)
    offset: int = Field(ge=0, le=limits.MAX_UPDATE_BYTES)
    sha256: Sha256


class PromptReceipt(Message):
    """Edge to cloud: what became of an update.

    Attributes:
        update_id: which.
        bank: the bank held now.
        applied: True once the new bank is durable; False leaves the old one.
        reason: why not, readable.
    """

    kind: Literal["PromptReceipt"] = "PromptReceipt"
    update_id: Id
    bank: BankRef
    applied: bool = Field(strict=True)
    reason: Reason = ""


class Problem(Message):
    """Either way: something is wrong with what you sent. Never answered with another Problem.

    Attributes:
        code: one of `PROBLEM_CODES`; later versions may add some.
        detail: for people: value, limit and cure.
        about: the case_id, update_id, request_id or kind it is about.
        retry_after_s: wait this long; None means that sending the same again will not help.
    """

    kind: Literal["Problem"] = "Problem"
    code: Annotated[str, StringConstraints(strict=True, pattern=r"^[a-z][a-z0-9_]{0,31}$")]
    detail: Reason
    about: Id | None = None
    retry_after_s: Duration | None = None

    @classmethod
    def from_error(cls, error: MessageError, about: str | None = None) -> Self:
        """The Problem that tells the sender about `error`; text too long is cut."""
        return cls(code=error.code, detail=str(error)[: limits.MAX_DETAIL_CHARS], about=about)


AnyMessage: TypeAlias = (
    Hello
    | Welcome
    | Heartbeat
    | CaseOffer
    | CaseChunk
    | CaseReceipt
    | InterpretationMessage
    | InterpretationReceipt
    | PromptUpdate
    | PromptReceipt
    | Problem
    | TrackTarget
    | TargetStatus
    | RefineRequest
    | BundleOffer
    | BundleChunk
    | BundleReceipt
)
"""Every message of v1."""

_ADAPTER: TypeAdapter[AnyMessage] = TypeAdapter(Annotated[AnyMessage, Field(discriminator="kind")])

KINDS: tuple[str, ...] = (
    "Hello",
    "Welcome",
    "Heartbeat",
    "CaseOffer",
    "CaseChunk",
    "CaseReceipt",
    "Interpretation",
    "InterpretationReceipt",
    "PromptUpdate",
    "PromptReceipt",
    "Problem",
    "TrackTarget",
    "TargetStatus",
    "RefineRequest",
    "BundleOffer",
    "BundleChunk",
    "BundleReceipt",
)
"""The kinds of v1, as Hello and Welcome list them; the last six came within it."""

RESERVED_KINDS: tuple[str, ...] = ("MissionTask",)
"""Names kept for later; until then they are unknown kinds."""


def encode(message: AnyMessage, blob: bytes = b"") -> list[bytes]:
    """The two frames of a message.

    Args:
        message: any message.
        blob: the slice of a CaseChunk, PromptUpdate or BundleChunk, or a case's first bytes with its CaseOffer; empty
            for every other kind.

    Returns:
        [header, blob].

    Raises:
        MessageError: `too_large` when the header or blob is over its limit (a case with too many long labels,
            an interpretation with too many corners), `bad_blob` when the kind and the blob do not fit.
    """
    header: bytes = msgpack.packb(message.model_dump())
    if len(header) > limits.MAX_HEADER_BYTES:
        raise MessageError(
            f"the {message.kind} header takes {len(header)} bytes; at most {limits.MAX_HEADER_BYTES}: "
            "send fewer detections, labels or corners",
            code="too_large",
        )
    _check_blob(message, len(blob))
    return [header, bytes(blob)]


def decode(frames: Sequence[bytes | memoryview]) -> tuple[AnyMessage, bytes]:
    """The message in two frames from a peer that is not trusted.

    Args:
        frames: as received; nothing about them is taken for granted.

    Returns:
        (message, blob).

    Raises:
        MessageError: whatever is wrong; see its `code` and `PROBLEM_CODES`. No other exception leaves.
    """
    if len(frames) != 2:
        raise MessageError(f"a message has exactly two frames, this one {len(frames)}")
    header, blob = (memoryview(frame) for frame in frames)
    if header.nbytes > limits.MAX_HEADER_BYTES or blob.nbytes > limits.MAX_CHUNK_BYTES:
        raise MessageError(
            f"frames of {header.nbytes} and {blob.nbytes} bytes; at most {limits.MAX_HEADER_BYTES} and "
            f"{limits.MAX_CHUNK_BYTES}",
            code="too_large",
        )
    fields = _unpack_map(bytes(header), max_str=limits.MAX_HEADER_BYTES, max_bin=limits.CHUNK_BYTES)
    _check_tag(fields)
    message: AnyMessage = _validated(_ADAPTER, fields)
    _check_blob(message, blob.nbytes)
    return message, bytes(blob)


def pack_change(change: BankChange) -> bytes:
    """The bytes that PromptUpdate slices: the change as one msgpack map, at most MAX_UPDATE_BYTES.

    Raises:
        MessageError: `too_large`; cannot happen for a change made by `diff_banks`.
    """
    packed: bytes = msgpack.packb(change.model_dump())
    if len(packed) > limits.MAX_UPDATE_BYTES:
        raise MessageError(
            f"the change takes {len(packed)} bytes; at most {limits.MAX_UPDATE_BYTES}: use smaller chips",
            code="too_large",
        )
    return packed


def unpack_change(packed: bytes) -> BankChange:
    """The change in bytes from a peer that is not trusted.

    Raises:
        MessageError: `too_large`, `malformed` or `bad_value`; no other exception leaves.
    """
    if len(packed) > limits.MAX_UPDATE_BYTES:
        raise MessageError(f"a bank change of {len(packed)} bytes; at most {limits.MAX_UPDATE_BYTES}", code="too_large")
    fields = _unpack_map(packed, max_str=4 * limits.MAX_TEXT_CHARS, max_bin=limits.MAX_CHIP_BYTES)
    change: BankChange = _validated(_CHANGE_ADAPTER, fields)
    return change


_CHANGE_ADAPTER: TypeAdapter[BankChange] = TypeAdapter(BankChange)
_BLOB_KINDS = ("CaseChunk", "PromptUpdate", "BundleChunk")
"""Never without a blob; a CaseOffer may have one, and nothing else ever has."""


def _unpack_map(packed: bytes, *, max_str: int, max_bin: int) -> dict[str, Any]:
    try:
        fields = msgpack.unpackb(
            packed,
            raw=False,
            strict_map_key=True,
            max_str_len=max_str,
            max_bin_len=max_bin,
            max_array_len=limits.MAX_ARRAY_ITEMS,
            max_map_len=limits.MAX_MAP_ITEMS,
            max_ext_len=0,
        )
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as exc:
        raise MessageError(f"not msgpack within the limits: {type(exc).__name__}") from exc
    if not isinstance(fields, dict):
        raise MessageError(f"the header is {type(fields).__name__}; expected a map")
    return fields


def _check_tag(fields: dict[str, Any]) -> None:
    version, kind = fields.get("v"), fields.get("kind")
    if type(version) is not int or not isinstance(kind, str):
        raise MessageError("the header lacks an integer v or a string kind")
    if version != limits.PROTOCOL_VERSION:
        raise MessageError(f"version {version}; this side speaks {limits.PROTOCOL_VERSION}", code="version")
    if kind not in KINDS:
        shown = "".join(letter if letter.isprintable() else "?" for letter in kind[:32])
        raise MessageError(f"unknown kind {shown!r}", code="unknown_kind")


def _validated(adapter: TypeAdapter[Any], fields: dict[str, Any]) -> Any:  # noqa: ANN401 - the adapter's type
    try:
        return adapter.validate_python(fields)
    except ValidationError as exc:
        # Not str(exc): it repeats the input, which may be image bytes, or text made to fool a log.
        first = exc.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])[:80]
        shown = "".join(letter if letter.isprintable() else "?" for letter in f"{where}: {first['msg']}")
        raise MessageError(shown[: limits.MAX_DETAIL_CHARS], code="bad_value") from exc
    except RecursionError as exc:
        raise MessageError("nested too deeply") from exc


def _check_blob(message: AnyMessage, size: int) -> None:
    most = limits.MAX_CHUNK_BYTES if isinstance(message, CaseChunk | CaseOffer) else limits.CHUNK_BYTES
    if size > most:
        raise MessageError(f"a blob of {size} bytes; at most {most}", code="too_large")
    if isinstance(message, CaseOffer):
        if size > message.case.payload_bytes:
            raise MessageError(f"the offer brings {size} of {message.case.payload_bytes} bytes", code="too_large")
    elif (size > 0) != (message.kind in _BLOB_KINDS):
        raise MessageError(f"{message.kind} came with a blob of {size} bytes", code="bad_blob")
    if isinstance(message, CaseChunk) and message.offset + size > limits.MAX_CASE_BYTES:
        raise MessageError(f"the chunk ends at {message.offset + size}", code="too_large")
    if isinstance(message, BundleChunk) and message.offset + size > limits.MAX_BUNDLE_BYTES:
        raise MessageError(f"the slice ends at {message.offset + size}", code="too_large")
    if isinstance(message, PromptUpdate) and message.offset + size > message.total_bytes:
        raise MessageError(f"the slice ends at {message.offset + size} of {message.total_bytes}", code="too_large")
