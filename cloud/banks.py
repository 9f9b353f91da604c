"""Issuing prompt banks: every change is the craft's next revision, and a bank never grows over its limits.

When a bank is full, the least worth goes first: expired prompts, then low priority, then the teacher's before a
person's, then low confidence, then the oldest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import structlog

from cloud.errors import BankMoved, NotThere
from cloud.store import CaseStore, Craft
from edge.prompting import worth
from protocols import limits
from protocols.values import Prompt, PromptBank, bank_bytes

log = structlog.get_logger()

_MAX_TRIES = 10
"""Another process issues a revision in the same millisecond rarely, and never for long."""


def issue(store: CaseStore, craft: str, change: Callable[[tuple[Prompt, ...]], Iterable[Prompt]]) -> PromptBank:
    """A craft's bank after a change; a new revision only if the change made a difference.

    Args:
        store: keeps it durably before this returns.
        craft: whose bank.
        change: from the prompts held to those that shall be held, within the limits; may be called again.

    Raises:
        StoreError: it could not be kept.
    """
    for _ in range(_MAX_TRIES):
        bank = store.bank(craft)
        following = PromptBank(epoch=bank.epoch, revision=bank.revision + 1, prompts=tuple(change(bank.prompts)))
        if following.digest == bank.digest:
            return bank
        try:
            store.save_bank(craft, following)
        except BankMoved:
            continue
        log.info("bank issued", craft=craft, revision=following.revision, prompts=len(following.prompts))
        return following
    raise BankMoved(f"the bank of {craft} changed {_MAX_TRIES} times in between; try again")


def upsert(store: CaseStore, craft: str, prompts: Iterable[Prompt], now_s: float) -> PromptBank:
    """A craft's bank with prompts added, or replaced by id; the least worth go when it is full."""
    new = {prompt.prompt_id: prompt for prompt in prompts}
    return issue(store, craft, lambda held: fit(({p.prompt_id: p for p in held} | new).values(), now_s))


def share(store: CaseStore, prompt: Prompt, now_s: float) -> list[str]:
    """Give a prompt of scope `mission` or `fleet` to every enrolled craft that can use it.

    `fleet` also reaches the crafts enrolled later; see `join_fleet`.

    Returns:
        The crafts that hold it now.
    """
    if prompt.scope == "fleet":
        store.add_fleet_prompt(prompt)
    names = [craft.name for craft in store.crafts() if _can_use(craft, prompt)]
    return [name for name in names if holds(upsert(store, name, [prompt], now_s), prompt)]


def holds(bank: PromptBank, prompt: Prompt) -> bool:
    """Whether a bank holds a prompt of this id; one that was full may not have taken it."""
    return any(held.prompt_id == prompt.prompt_id for held in bank.prompts)


def join_fleet(store: CaseStore, now_s: float) -> list[str]:
    """Give every craft the fleet prompts it lacks; returns the crafts whose bank changed."""
    fleet, changed = store.fleet_prompts(), []
    for craft in store.crafts() if fleet else []:
        held = {prompt.prompt_id for prompt in store.bank(craft.name).prompts}
        lacking = [p for p in fleet if _can_use(craft, p) and p.prompt_id not in held]
        if lacking and len(held) < limits.MAX_PROMPTS:
            upsert(store, craft.name, lacking, now_s)
            changed.append(craft.name)
    return changed


def withdraw(store: CaseStore, prompt_id: str) -> list[str]:
    """Take a prompt out of every bank and keep the teacher from issuing it again.

    Returns:
        The crafts that held it.

    Raises:
        RequestError: no bank holds it.
    """
    holders = [
        craft.name
        for craft in store.crafts()
        if any(prompt.prompt_id == prompt_id for prompt in store.bank(craft.name).prompts)
    ]
    if not holders and not any(prompt.prompt_id == prompt_id for prompt in store.fleet_prompts()):
        raise NotThere(f"no bank holds a prompt {prompt_id[:70]!r}; see skyloop-cloud prompts list")
    store.forbid_prompt(prompt_id)  # first: a server building it right now must not bring it back
    for name in holders:
        issue(store, name, lambda held: (p for p in held if p.prompt_id != prompt_id))
    return holders


def fit(prompts: Iterable[Prompt], now_s: float) -> tuple[Prompt, ...]:
    """The prompts that are worth most, within a bank's limits of count and bytes."""
    kept: list[Prompt] = []
    room = limits.MAX_BANK_BYTES - 16  # the array's own header
    for prompt in sorted(prompts, key=lambda p: _worth(p, now_s), reverse=True):
        size = bank_bytes([prompt])
        if len(kept) == limits.MAX_PROMPTS or size > room:
            log.warning("bank is full, prompt gives way", prompt_id=prompt.prompt_id, label=prompt.label)
            continue
        kept.append(prompt)
        room -= size
    return tuple(kept)


def _worth(prompt: Prompt, now_s: float) -> tuple[bool, tuple[int, bool, float, float]]:
    alive = prompt.expires_at_s is None or prompt.expires_at_s > now_s
    return alive, worth(prompt)


def _can_use(craft: Craft, prompt: Prompt) -> bool:
    """Whether a craft may still fly the prompt's space: it does, or has not said yet."""
    return not craft.is_revoked and craft.space_id in (None, prompt.space_id)
