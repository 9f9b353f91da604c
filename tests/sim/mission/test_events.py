import hashlib
import json

from sim.mission.events import EventLog, event_digest, write_events


def filled() -> EventLog:
    log = EventLog()
    log.add(1.23456, "a", "case_made", case_id="a-0", hardness=0.123456, payload_bytes=7)
    log.add(2.0, "b", "window_closed", station="north", is_used=True)
    return log


def test_lines_keep_their_field_order_and_three_decimals():
    first = filled().events[0].line()
    assert first == '{"time_s":1.235,"craft":"a","kind":"case_made","case_id":"a-0","hardness":0.123,"payload_bytes":7}'


def test_digest_is_that_of_the_file(tmp_path):
    path = tmp_path / "events.jsonl"
    write_events(filled().events, path)
    assert event_digest(filled().events) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [json.loads(line)["craft"] for line in path.read_text().splitlines()] == ["a", "b"]
