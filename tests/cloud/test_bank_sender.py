import numpy as np
import pytest

from cloud.bank_sender import BankSender
from protocols import (
    BankRef,
    Chip,
    Prompt,
    PromptBank,
    PromptReceipt,
    Reassembly,
    Vectors,
    apply_change,
    unpack_change,
)
from protocols.limits import CHUNK_BYTES


class Clock:
    now_s = 0.0

    def monotonic_s(self):
        return self.now_s

    def wall_s(self):
        return 1.7e9


def bank_of(revision, count):
    vectors = Vectors.from_array(np.eye(2, 8, dtype=np.float32))
    chips = (Chip(jpeg=b"j" * 8000, box_xyxy=(0, 0, 9, 9), scale=1),)
    prompts = tuple(
        Prompt(
            prompt_id=f"p{number}",
            label="debris",
            space_id="space",
            variant="fp32",
            positives=vectors,
            negatives=vectors,
            threshold=0.5,
            chips=chips,
            issued_at_s=1.7e9,
            origin="teacher",
            confidence=1,
        )
        for number in range(count)
    )
    return PromptBank(epoch="e", revision=revision, prompts=prompts)


OLD, NEW = bank_of(1, 4), bank_of(2, 5)
EMPTY = PromptBank.empty("none")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def sender(clock):
    return BankSender(OLD.ref, clock, patience_s=60)


def send(sender):
    """All slices put together; returns (update_id, change)."""
    parts = None
    while (item := sender.next_slice()) is not None:
        message, blob = item
        parts = parts or Reassembly(message.total_bytes, message.sha256, cap_bytes=2**20)
        assert len(blob) <= CHUNK_BYTES
        parts.add(message.offset, blob)
        sender.sent(blob)
    return message.update_id, unpack_change(parts.finish())


def answer(update_id, bank, applied=True):
    return PromptReceipt(update_id=update_id, bank=bank.ref, applied=applied)


def test_delta_brings_the_craft_up_to_date(sender):
    assert sender.wants(NEW)
    assert sender.wants_delta(NEW)
    sender.start(NEW, OLD)
    update_id, change = send(sender)
    assert apply_change(OLD, change) == NEW
    assert len(change.upserts) == 1
    sender.on_receipt(answer(update_id, NEW))
    assert not sender.wants(NEW)
    assert sender.held == NEW.ref


def test_one_update_at_a_time(sender):
    sender.start(NEW, OLD)
    assert not sender.wants(bank_of(3, 6))


def test_refused_delta_becomes_a_snapshot_and_a_refused_snapshot_is_final(sender):
    sender.start(NEW, OLD)
    sender.on_receipt(answer(send(sender)[0], EMPTY, applied=False))
    assert sender.wants(NEW)
    assert not sender.wants_delta(NEW)
    sender.start(NEW, None)
    update_id, change = send(sender)
    assert change.base is None
    sender.on_receipt(answer(update_id, EMPTY, applied=False))
    assert not sender.wants(NEW)
    assert sender.wants(bank_of(3, 6))


def test_update_without_receipt_is_tried_three_times(sender, clock):
    tries = 0
    while sender.wants(NEW):
        tries += 1
        sender.start(NEW, None)
        send(sender)
        assert not sender.give_up_unanswered()
        clock.now_s += 61
        assert sender.give_up_unanswered()
    assert tries == 3


def test_receipt_of_another_update_tells_what_is_held_and_ends_nothing(sender):
    sender.start(NEW, OLD)
    sender.on_receipt(answer("another", EMPTY))
    assert sender.held == BankRef(epoch="none", revision=0, digest=EMPTY.digest)
    assert sender.is_sending
