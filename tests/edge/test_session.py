import hashlib

import pytest

from edge.bank import BankStore
from edge.link_stats import LinkCounter
from edge.session import MAX_OUTBOX, HelloProfile, LinkSession, Ports
from edge.spool import Spool
from edge.uploader import Uploader
from protocols import (
    KINDS,
    BankRef,
    CaseOffer,
    Heartbeat,
    Hello,
    Interpretation,
    InterpretationMessage,
    InterpretationReceipt,
    Problem,
    PromptReceipt,
    PromptUpdate,
    TrackTarget,
    Welcome,
    decode,
    diff_banks,
    encode,
    new_case_id,
    pack_change,
    slices,
)


class Wire:
    """The cloud's side of a session under test."""

    def __init__(self, tmp_path, clock):
        self.sent, self.is_open, self.answers, self.banks = [], True, [], []
        spool, counter = Spool(tmp_path / "spool", clock=clock), LinkCounter()
        self.ports = Ports(
            spool=spool,
            bank=BankStore(tmp_path / "bank"),
            hello=HelloProfile("space", "fp32", ("Car",)),
            boot_id="boot",
            clock=clock,
            counter=counter,
            uploader=Uploader(spool, clock, counter, patience_s=20),
            liveness_s=5,
            on_interpretation=self.answers.append,
            on_bank=lambda *args: self.banks.append(args),
        )
        self.session = LinkSession(self.ports, self._send)

    def _send(self, frames):
        if self.is_open:
            self.sent.append(decode(frames)[0])
        return self.is_open

    def take(self):
        """What the session sends now."""
        self.session.pump()
        sent, self.sent = self.sent, []
        return sent

    def give(self, message, blob=b""):
        self.session.receive(encode(message, blob))

    def welcome(self, hello, kinds=KINDS, **more):
        self.give(
            Welcome(
                server_software="test",
                session_id=hello.session_id,
                kinds=kinds,
                credit_bytes=2**20,
                heartbeat_s=1,
                wall_time_s=1.7e9,
                bank=hello.bank,
                **more,
            )
        )

    @property
    def stats(self):
        return self.ports.counter.stats


@pytest.fixture
def wire(tmp_path, fake_clock):
    return Wire(tmp_path, fake_clock)


@pytest.fixture
def online(wire):
    wire.welcome(wire.take()[0])
    return wire


def update_of(change, update_id="u1", size=1000):
    packed = pack_change(change)
    digest = hashlib.sha256(packed).hexdigest()
    for offset, blob in slices(packed, size=size):
        yield (
            PromptUpdate(
                update_id=update_id,
                target=change.target,
                total_bytes=len(packed),
                offset=offset,
                sha256=digest,
            ),
            blob,
        )


def test_nothing_but_hello_before_welcome(wire, make_case):
    wire.ports.spool.put(make_case(), b"imagery", 1.0)
    wire.ports.spool.flush()
    (hello,) = wire.take()
    assert isinstance(hello, Hello)
    assert (hello.labels, hello.bank) == (("Car",), wire.ports.bank.current.ref)
    assert wire.take() == []
    wire.welcome(hello)
    assert isinstance(wire.take()[0], CaseOffer)


def test_stale_welcome_is_ignored(wire):
    (hello,) = wire.take()
    wire.welcome(hello.model_copy(update={"session_id": "another"}))
    assert not wire.session.is_welcome


def test_heartbeat_only_when_there_is_nothing_else(online, fake_clock):
    assert online.take() == []
    fake_clock.advance(1.1)
    assert isinstance(online.take()[0], Heartbeat)
    assert online.take() == []


def test_heartbeat_goes_out_at_once_where_a_receipt_is_overdue(online, fake_clock, make_case):
    online.ports.spool.put(make_case(), b"imagery", 1.0)
    assert [message.kind for message in online.take()] == ["CaseOffer", "CaseChunk"]
    fake_clock.advance(0.2)
    assert online.take() == []
    fake_clock.advance(0.1)
    assert [message.kind for message in online.take()] == ["Heartbeat"]
    assert online.take() == []
    online.give(Heartbeat(seq=1, wall_time_s=1.7e9))
    fake_clock.advance(0.2)
    assert online.take() == []


def test_session_says_when_it_waits_for_room(online, make_case):
    online.is_open = False
    online.ports.spool.put(make_case(), b"imagery", 1.0)
    assert (online.take(), online.session.is_blocked) == ([], True)
    online.is_open = True
    assert (len(online.take()), online.session.is_blocked) == (2, False)


def test_nothing_waits_for_room_once_the_case_that_did_is_gone(online, make_case):
    case = make_case()
    online.ports.spool.put(case, b"imagery", 1.0)
    online.is_open = False
    assert (online.take(), online.session.is_blocked) == ([], True)
    online.ports.spool.done(case.case_id)
    assert (online.take(), online.session.is_blocked) == ([], False)


def test_welcome_that_says_so_gets_the_imagery_with_the_offer(wire, make_case):
    (hello,) = wire.take()
    wire.ports.spool.put(make_case(), b"imagery", 1.0)
    wire.welcome(hello, chunk_bytes=2**20, open_cases=9)
    (offer,) = wire.take()
    assert (offer.kind, wire.ports.uploader.path.state(0.0).in_flight_bytes) == ("CaseOffer", 7)


def test_silence_ends_the_session_and_any_message_proves_life(online, fake_clock):
    for _ in range(3):
        fake_clock.advance(4)
        online.give(Heartbeat(seq=1, wall_time_s=1.7e9))
        online.take()
    assert online.session.ended is None
    fake_clock.advance(5.1)
    online.take()
    assert "nothing received" in online.session.ended


def test_update_in_slices_is_applied_and_receipted_once(online, make_bank):
    bank = make_bank()
    for message, blob in update_of(diff_banks(None, bank), size=100):
        online.give(message, blob)
        online.give(message, blob)  # repeated slices are harmless
    assert online.take() == [PromptReceipt(update_id="u1", bank=bank.ref, applied=True)]
    assert (online.ports.bank.current, online.stats.prompts_applied) == (bank, 1)
    assert online.banks[0][0] == bank


def test_new_update_drops_an_unfinished_older_one(online, make_bank):
    first, second = make_bank(1), make_bank(2, ("bicycle",))
    message, blob = next(update_of(diff_banks(None, first), "u1", size=100))
    online.give(message, blob)
    for message, blob in update_of(diff_banks(None, second), "u2"):
        online.give(message, blob)
    assert online.ports.bank.current == second


def test_update_from_another_base_is_refused_with_reason(online, make_bank):
    for message, blob in update_of(diff_banks(make_bank(1), make_bank(2, ("bicycle",)))):
        online.give(message, blob)
    (answer,) = online.take()
    assert (answer.applied, answer.bank) == (False, online.ports.bank.current.ref)
    assert "snapshot" in answer.reason


def test_update_with_wrong_digest_is_refused_and_its_further_slices_are_ignored(online, make_bank):
    for message, blob in [*update_of(diff_banks(None, make_bank()))] * 2:
        online.give(message.model_copy(update={"sha256": "0" * 64}), blob)
    assert [answer.applied for answer in online.take()] == [False]
    assert online.stats.prompts_refused == 1


def test_bank_that_cannot_be_written_is_refused_with_reason(online, make_bank, tmp_path):
    (tmp_path / "bank" / "bank.skyloop.partial").mkdir()  # in the way: opening it raises OSError
    for message, blob in update_of(diff_banks(None, make_bank())):
        online.give(message, blob)
    (answer,) = online.take()
    assert not answer.applied
    assert "not written" in answer.reason
    assert not online.ports.bank.current.prompts


def test_update_of_prompts_that_are_held_is_not_counted_as_applied(online, make_bank):
    for number, epoch in enumerate(("e1", "e2")):
        for message, blob in update_of(diff_banks(None, make_bank(epoch=epoch)), f"u{number}"):
            online.give(message, blob)
    assert [answer.applied for answer in online.take()] == [True, True]
    assert online.stats.prompts_applied == 1


def test_interpretation_is_handed_over_and_receipted_each_time(online):
    answer = Interpretation(case_id=new_case_id(), confidence=1, by="teacher", interpreter="test", made_at_s=1.7e9)
    for _ in range(2):
        online.give(InterpretationMessage(interpretation=answer))
    assert online.answers == [answer, answer]
    assert online.take() == [InterpretationReceipt(case_id=answer.case_id)] * 2


@pytest.mark.parametrize("code", ["not_welcome", "not_enrolled"])
def test_being_turned_away_ends_the_session(online, code):
    online.give(Problem(code=code, detail="x"))
    assert online.session.is_turned_away
    assert code in online.session.ended


def test_unknown_problem_is_counted_and_survived(online):
    online.give(Problem(code="from_the_future", detail="x"))
    assert (online.session.ended, online.stats.problems) == (None, 1)


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([], id="none"),
        pytest.param([b""], id="one-empty"),
        pytest.param([b"\x93\x01", b""], id="cut"),
        pytest.param([b"a"] * 50, id="many"),
        pytest.param([b"\xff" * 60_000, b""], id="large"),
        pytest.param([b"\x82\xa1v\x01\xa4kind\xa6FooBar", b""], id="unknown-kind"),
    ],
)
def test_malformed_message_is_counted_and_answered_at_most_once_a_second(online, frames):
    for _ in range(3):
        online.session.receive(frames)
    assert [message.kind for message in online.take()] == ["Problem"]
    assert (online.stats.malformed, online.session.ended) == (3, None)


def test_message_only_the_edge_may_send_is_counted(online):
    online.give(InterpretationReceipt(case_id=new_case_id()))
    assert (online.stats.malformed, online.take()) == (1, [])


def test_outbox_is_bounded_while_the_socket_is_full(online):
    online.is_open = False
    answer = Interpretation(case_id=new_case_id(), confidence=1, by="teacher", interpreter="test", made_at_s=1.7e9)
    while online.session.wants_input:
        online.give(InterpretationMessage(interpretation=answer))
    online.is_open = True
    assert len(online.take()) == MAX_OUTBOX
    assert online.session.wants_input


def test_bank_in_hello_is_the_one_held(tmp_path, fake_clock, make_bank):
    BankStore(tmp_path / "bank").apply(diff_banks(None, make_bank(7)))
    (hello,) = Wire(tmp_path, fake_clock).take()
    assert hello.bank == BankRef(epoch="e1", revision=7, digest=make_bank(7).digest)


@pytest.mark.parametrize("speaks", [True, False], ids=["new-cloud", "old-cloud"])
def test_status_of_a_target_goes_only_to_a_cloud_that_speaks_it(wire, speaks):
    wire.welcome(wire.take()[0], kinds=KINDS if speaks else tuple(kind for kind in KINDS if kind != "TargetStatus"))
    wire.give(TrackTarget(target_key="t", action="status"))
    assert [(m.kind, m.state) for m in wire.take()] == ([("TargetStatus", "unknown")] if speaks else [])
    assert wire.stats.malformed == 0
