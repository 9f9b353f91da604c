import pytest
from builders import make_case

from protocols.limits import CHUNK_BYTES
from protocols.messages import CaseChunk, CaseOffer, encode
from sim.mission.agenda import Agenda
from sim.mission.events import EventLog
from sim.mission.passes import Pass
from sim.mission.radio import CHUNK_HEADER_BYTES, OFFER_BYTES, PromptOnItsWay, Radio
from sim.mission.settings import LinkSettings, SpoolSettings
from sim.mission.spool import MissionCase, MissionSpool

# 8 kbit/s are 1,000 bytes a second; half a second one way.
LINK = LinkSettings(edge_to_cloud_bps=8_000, cloud_to_edge_bps=8_000, latency_s=0.5)
OFFER_S = OFFER_BYTES / 1000


class Flight:
    """A radio with its agenda; passes are (start, end) in seconds."""

    def __init__(self, *passes):
        self.agenda, self.log = Agenda(), EventLog()
        self.spool = MissionSpool(SpoolSettings())
        self.radio = Radio("probe", self.agenda, self.log, self.spool)
        self.stored, self.prompts = [], []
        self.radio.on_stored = lambda case, now_s: self.stored.append((case.case_id, now_s))
        self.radio.on_prompt = lambda prompt, now_s: self.prompts.append((prompt.kind, now_s))
        for start_s, end_s in passes:
            found = Pass("north", start_s, end_s, 45.0, LINK)
            self.agenda.at(start_s, lambda now_s, found=found: self.radio.open(found, now_s))
            self.agenda.at(end_s, self.radio.close)

    def put(self, case_id="c", payload_bytes=5_000, value=0.5, seq=0):
        case = MissionCase(case_id, seq, value, payload_bytes, 0.0, None, seq)
        self.spool.put(case)
        return case

    def kinds(self):
        return [event.kind for event in self.log.events]


def test_case_takes_handshake_offer_bytes_and_latency():
    flight = Flight((10.0, 100.0))
    flight.put(payload_bytes=5_000)
    flight.agenda.run(100.5)
    # handshake 1 s, offer, its answer 1 s, 5,080 bytes, one way
    assert flight.stored == [("c", pytest.approx(10 + 1 + OFFER_S + 1 + 5.08 + 0.5))]
    assert (len(flight.spool), flight.radio.counts.sent_bytes) == (0, OFFER_BYTES + 5_000 + CHUNK_HEADER_BYTES)


def test_most_valuable_case_goes_first_and_the_next_waits_for_the_receipt():
    flight = Flight((0.0, 100.0))
    flight.put("low", 1_000, 0.4, 0)
    flight.put("high", 1_000, 0.9, 1)
    flight.agenda.run(100.5)
    (first, first_s), (second, second_s) = flight.stored
    assert (first, second) == ("high", "low")
    assert second_s - first_s == pytest.approx(0.5 + OFFER_S + 1 + 1.08 + 0.5)


def test_case_goes_on_in_the_next_pass_from_the_last_whole_chunk():
    flight = Flight((0.0, 40.0), (1_000.0, 1_100.0))
    case = flight.put(payload_bytes=3 * CHUNK_BYTES)
    flight.agenda.run(500.0)
    # 40 s less handshake, offer and its answer leave 37.2 kB: two whole chunks
    assert case.offset == 2 * CHUNK_BYTES
    flight.agenda.run(1_200.0)
    left = CHUNK_BYTES + CHUNK_HEADER_BYTES
    assert flight.stored == [("c", pytest.approx(1_000 + 1 + OFFER_S + 1 + left / 1000 + 0.5))]
    assert flight.kinds() == ["window_opened", "case_paused", "window_closed", "window_opened", "window_closed"]


def test_case_whose_receipt_is_lost_is_offered_again_and_found_stored():
    start_s = 1 + OFFER_S + 1 + 5.08
    flight = Flight((0.0, start_s + 0.6), (100.0, 200.0))
    flight.put(payload_bytes=5_000)
    flight.agenda.run(50.0)
    assert (len(flight.stored), len(flight.spool), flight.spool.waiting) == (1, 1, 0)
    flight.agenda.run(300.0)
    assert (len(flight.stored), len(flight.spool)) == (1, 0)


def test_case_put_during_a_pass_starts_at_once():
    flight = Flight((0.0, 100.0))
    flight.agenda.run(50.0)
    flight.put()
    flight.radio.next_case(50.0)
    flight.agenda.run(101.0)
    assert flight.stored[0][1] == pytest.approx(50 + OFFER_S + 1 + 5.08 + 0.5)


def prompt(kind: int, update_bytes: int = 6_000) -> PromptOnItsWay:
    return PromptOnItsWay(MissionCase("c", 0, 0.5, 1, 0.0, None, 0), kind, update_bytes, 1)


def test_prompts_come_one_after_the_other():
    flight = Flight((0.0, 100.0))
    flight.agenda.run(10.0)
    flight.radio.queue_prompt(prompt(1), 10.0)
    flight.radio.queue_prompt(prompt(2), 10.0)
    flight.agenda.run(50.0)
    assert flight.prompts == [(1, pytest.approx(16.5)), (2, pytest.approx(23.0))]


def test_prompt_that_does_not_fit_comes_in_the_next_pass():
    flight = Flight((0.0, 20.0), (100.0, 150.0))
    flight.agenda.run(15.0)
    flight.radio.queue_prompt(prompt(7), 15.0)
    flight.agenda.run(200.0)
    assert flight.prompts == [(7, pytest.approx(100 + 1 + 6.5))]


def test_pass_without_anything_to_say_is_not_used():
    flight = Flight((0.0, 20.0))
    flight.agenda.run(30.0)
    assert (flight.radio.counts.passes, flight.radio.counts.used_passes) == (1, 0)


def test_headers_are_about_as_long_as_on_the_wire():
    case = make_case()
    header, blob = encode(CaseChunk(case_id=case.case_id, offset=10**6), b"x")
    assert len(blob) == 1
    assert CHUNK_HEADER_BYTES - 10 <= len(header) <= CHUNK_HEADER_BYTES
    offer = encode(CaseOffer(case=case))[0]
    assert OFFER_BYTES / 2 <= len(offer) <= OFFER_BYTES
