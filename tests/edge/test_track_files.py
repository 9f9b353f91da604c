import json

import numpy as np

from edge.targets import Target
from edge.track_files import TrackFiles
from protocols.values import FrameHeader


def target(target_id, state, box=(1.25, 2.0, 11.25, 22.0)):
    return Target(target_id, "Car", state, "why", np.array(box, np.float32), 0.75)


def header(index):
    return FrameHeader(index=index, source_id="flight", captured_at_s=5.0, width=64, height=64)


def test_files_hold_every_state_as_json_and_what_is_not_lost_as_mot(tmp_path):
    files = TrackFiles(tmp_path)
    files.write(header(0), [target(1, "tentative"), target(2, "lost")])
    files.write(header(1), [])
    files.write(header(2), [target(2, "re_found")])
    files.close()
    lines = [json.loads(line) for line in (tmp_path / "tracks.jsonl").read_text().splitlines()]
    assert [(line["frame"], [t["state"] for t in line["targets"]]) for line in lines] == [
        (0, ["tentative", "lost"]),
        (2, ["re_found"]),
    ]
    assert lines[0]["targets"][0] == {
        "target_id": 1,
        "label": "Car",
        "state": "tentative",
        "reason": "why",
        "box_xyxy": [1.2, 2.0, 11.2, 22.0],
        "presence": 0.75,
    }
    assert (tmp_path / "tracks.mot.txt").read_text().splitlines() == [
        "1,1,1.2,2.0,10.0,20.0,0.7500,-1,-1,-1",
        "3,2,1.2,2.0,10.0,20.0,0.7500,-1,-1,-1",
    ]
