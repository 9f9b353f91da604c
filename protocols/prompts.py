"""Prompts and the banks they live in: what a craft holds, its exact name, and the steps from one bank to the next."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cached_property
from typing import Annotated, Any, Literal

import msgpack
from pydantic import AfterValidator, Field, ValidationError, model_validator
from typing_extensions import Self

from protocols import limits
from protocols.chips import Chip
from protocols.errors import MessageError
from protocols.fields import CaseId, Counter, Id, Label, Sha256, SizeRange, Text, Unit, Value, WallTime
from protocols.vectors import Vectors


class Prompt(Value):
    """Few-shot knowledge for one label or one target.

    Attributes:
        prompt_id: unique in its bank.
        label: what a match is called.
        space_id: the embedding space the vectors live in.
        variant: the bundle file the threshold was set on (`fp32`, `u8s8`, `s8s8`, `engine`).
        positives: 1..8 vectors of the thing.
        negatives: 0..24 vectors of what it is confused with, same dim.
        threshold: cosine with the nearest positive from which a candidate counts; the craft may go on following a
            track a little below.
        temperature: of the sigmoid over the cosine's distance from the threshold or the nearest negative, whichever
            is higher.
        direction_cases: 0 where positives are looks of the thing. Else there is one positive and no negative: the
            direction from the mean of the background to the mean of the thing, itself a mean over so many cases.
        size_px: (smallest, largest) sqrt(box area) in full-frame pixels; None is any.
        size_m: the same on the ground in metres, used where the gsd is known.
        chips: 0..8 exemplars.
        scope: who may use it.
        priority: higher first where there is not time for all.
        issued_at_s: wall time.
        expires_at_s: wall time; evaluated when matching, never edits the bank. None is never.
        origin: who made it.
        confidence: 0..1 that it is right.
        case_id: the case it answers, where there is one.
    """

    prompt_id: Id
    label: Label
    space_id: Text
    variant: Text
    positives: Vectors
    negatives: Vectors
    threshold: float = Field(ge=-2, le=2)
    temperature: float = Field(default=0.07, gt=0, le=10)
    direction_cases: int = Field(default=0, ge=0, le=limits.MAX_DIRECTION_CASES)
    size_px: SizeRange | None = None
    size_m: SizeRange | None = None
    chips: tuple[Chip, ...] = Field(default=(), max_length=limits.MAX_CHIPS)
    scope: Literal["craft", "mission", "fleet"] = "craft"
    priority: int = Field(default=0, ge=-100, le=100)
    issued_at_s: WallTime
    expires_at_s: WallTime | None = None
    origin: Literal["teacher", "person"]
    confidence: Unit
    case_id: CaseId | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not 1 <= len(self.positives) <= limits.MAX_POSITIVES:
            raise ValueError(f"{len(self.positives)} positive vectors; expected 1..{limits.MAX_POSITIVES}")
        if self.positives.dim != self.negatives.dim:
            raise ValueError(f"positives have dim {self.positives.dim} but negatives {self.negatives.dim}")
        if self.direction_cases and (len(self.positives), len(self.negatives)) != (1, 0):
            raise ValueError(
                f"a direction of {self.direction_cases} cases with {len(self.positives)} positive and "
                f"{len(self.negatives)} negative vectors; expected 1 and 0"
            )
        if any(chip.vector is not None and chip.vector.dim != self.positives.dim for chip in self.chips):
            raise ValueError(f"a chip's vector has another dim than the positives' {self.positives.dim}")
        return self


# What a v1 digest covers, for ever: a field added later must not change the digest an older peer computes.
_DIGEST_VECTORS = {"dim", "data", "scales"}
_DIGEST_FIELDS: Any = {
    "prompt_id": True,
    "label": True,
    "space_id": True,
    "variant": True,
    "positives": _DIGEST_VECTORS,
    "negatives": _DIGEST_VECTORS,
    "threshold": True,
    "temperature": True,
    "size_px": True,
    "size_m": True,
    "chips": {"__all__": {"jpeg", "box_xyxy", "scale"}},
    "scope": True,
    "priority": True,
    "issued_at_s": True,
    "expires_at_s": True,
    "origin": True,
    "confidence": True,
    "case_id": True,
}


def canonical_prompts(prompts: Iterable[Prompt]) -> bytes:
    """The bytes a bank's digest is taken over.

    A msgpack array of the prompts sorted by prompt_id; each a map of the v1 fields, keys sorted by code point
    at every level; shortest integers, every float as float64, None as nil, tuples as arrays, bytes as bin.
    """
    ordered = sorted(prompts, key=lambda prompt: prompt.prompt_id)
    packed: bytes = msgpack.packb([_with_sorted_keys(p.model_dump(include=_DIGEST_FIELDS)) for p in ordered])
    return packed


def bank_bytes(prompts: Iterable[Prompt]) -> int:
    """What prompts count for in a bank's limit: their canonical form, and the vectors of their chips beside it."""
    prompts = tuple(prompts)
    return len(canonical_prompts(prompts)) + _vector_bytes(prompts)


def _vector_bytes(prompts: Iterable[Prompt]) -> int:
    vectors = (chip.vector for prompt in prompts for chip in prompt.chips if chip.vector is not None)
    return sum(len(vector.data) + _VECTOR_BYTES for vector in vectors)


_VECTOR_BYTES = 48
"""What msgpack needs for one chip's vector beside its data: scale, key names and their lengths."""


def _with_sorted_keys(value: object) -> object:
    if isinstance(value, dict):
        return {key: _with_sorted_keys(value[key]) for key in sorted(value)}
    if isinstance(value, tuple | list):
        return [_with_sorted_keys(item) for item in value]
    return value


class BankRef(Value):
    """The name of one exact state of a prompt bank.

    Attributes:
        epoch: changes when the cloud starts a craft's numbering anew.
        revision: counts changes within the epoch.
        digest: sha256 over `canonical_prompts`, lower-case hex.
    """

    epoch: Id
    revision: Counter
    digest: Sha256


class PromptBank(Value):
    """All prompts one craft holds.

    Attributes:
        epoch: see `BankRef`.
        revision: see `BankRef`.
        prompts: at most 64 with unique ids, at most MAX_BANK_BYTES (see `bank_bytes`); kept sorted by id.
    """

    epoch: Id
    revision: Counter
    prompts: Annotated[
        tuple[Prompt, ...],
        Field(max_length=limits.MAX_PROMPTS),
        AfterValidator(lambda prompts: tuple(sorted(prompts, key=lambda prompt: prompt.prompt_id))),
    ] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len({prompt.prompt_id for prompt in self.prompts}) < len(self.prompts):
            raise ValueError("a prompt_id occurs twice in the bank")
        size = len(self._canonical) + _vector_bytes(self.prompts)
        if size > limits.MAX_BANK_BYTES:
            raise ValueError(f"the bank takes {size} bytes; at most {limits.MAX_BANK_BYTES}: use smaller chips")
        return self

    @classmethod
    def empty(cls, epoch: str) -> Self:
        """The bank a craft has before its first prompt: revision 0, no prompts."""
        return cls(epoch=epoch, revision=0)

    @cached_property
    def _canonical(self) -> bytes:
        return canonical_prompts(self.prompts)

    @cached_property
    def digest(self) -> str:
        """Sha256 of the prompts in canonical form, lower-case hex; epoch and revision do not enter."""
        return hashlib.sha256(self._canonical).hexdigest()

    @property
    def ref(self) -> BankRef:
        """This bank's name."""
        return BankRef(epoch=self.epoch, revision=self.revision, digest=self.digest)


class BankChange(Value):
    """A step from one bank to the next.

    Attributes:
        base: the bank it starts from; None is a snapshot, which replaces whatever is there.
        target: the bank that results.
        upserts: prompts to add, or to replace by id.
        removed: ids to take away; none in a snapshot, none that is also upserted.
    """

    base: BankRef | None
    target: BankRef
    upserts: tuple[Prompt, ...] = Field(default=(), max_length=limits.MAX_PROMPTS)
    removed: tuple[Id, ...] = Field(default=(), max_length=limits.MAX_PROMPTS)

    @model_validator(mode="after")
    def _check(self) -> Self:
        ids = [prompt.prompt_id for prompt in self.upserts] + list(self.removed)
        if len(set(ids)) < len(ids):
            raise ValueError("a prompt_id occurs twice in the change")
        if self.base is None and self.removed:
            raise ValueError("a snapshot (base None) cannot remove prompts")
        if self.base is not None and self.base.epoch != self.target.epoch:
            raise ValueError("a delta cannot change the epoch: send a snapshot")
        return self


def diff_banks(old: PromptBank | None, new: PromptBank) -> BankChange:
    """The change that leads from one bank to another.

    Args:
        old: the bank the craft holds; None, or one of another epoch, gives a snapshot.
        new: the bank it shall hold.

    Returns:
        The change; `apply_change(old, it)` equals `new`.
    """
    if old is None or old.epoch != new.epoch:
        return BankChange(base=None, target=new.ref, upserts=new.prompts)
    before = {prompt.prompt_id: prompt for prompt in old.prompts}
    after = {prompt.prompt_id for prompt in new.prompts}
    return BankChange(
        base=old.ref,
        target=new.ref,
        upserts=tuple(prompt for prompt in new.prompts if before.get(prompt.prompt_id) != prompt),
        removed=tuple(prompt_id for prompt_id in before if prompt_id not in after),
    )


def apply_change(bank: PromptBank, change: BankChange) -> PromptBank:
    """The bank that results from a change.

    Args:
        bank: the bank held now (a snapshot replaces it whole).
        change: a delta from exactly this bank, or a snapshot.

    Returns:
        A new bank whose ref is `change.target`.

    Raises:
        MessageError: code `bank_mismatch` when the base is another bank, the resulting digest is not the target's
            (ask for a snapshot) or the target is an older revision of the bank's epoch (a replay); code `bad_value`
            when the result breaks a bank's limits.
    """
    if change.target.epoch == bank.epoch and change.target.revision < bank.revision:
        raise MessageError(
            f"the change leads to revision {change.target.revision} but {bank.revision} of this epoch is held: an old "
            "update; begin another epoch to number anew",
            code="bank_mismatch",
        )
    if change.base is not None and change.base != bank.ref:
        raise MessageError(
            f"the change starts from revision {change.base.revision} but revision {bank.revision} is held "
            "(or its digest differs): send a snapshot",
            code="bank_mismatch",
        )
    kept = {} if change.base is None else {prompt.prompt_id: prompt for prompt in bank.prompts}
    for prompt_id in change.removed:
        kept.pop(prompt_id, None)
    kept.update((prompt.prompt_id, prompt) for prompt in change.upserts)
    target = change.target
    try:
        result = PromptBank(epoch=target.epoch, revision=target.revision, prompts=tuple(kept.values()))
    except ValidationError as exc:
        raise MessageError(f"the changed bank is not valid: {exc.errors()[0]['msg']}", code="bad_value") from exc
    if result.digest != target.digest:
        raise MessageError(
            f"the changed bank has digest {result.digest[:12]}, not {target.digest[:12]}: send a snapshot",
            code="bank_mismatch",
        )
    return result
