"""The event log of a run: what is decided by scenario and seed, and by nothing else.

No line depends on sockets, processes or the machine's speed: the same scenario and seed give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from sim.errors import OutputError
from sim.run_folder import RunFolder
from sim.scenario import Scenario
from sim.scripted_answers import decisions
from sim.timetable import link_spans, steps_of

Line = dict[str, Any]
_ANSWERS = 32
"""So many of the operator's answers are told ahead; how many cases there will be nobody knows."""


def write_event_log(folder: RunFolder, scenario: Scenario, seed: int) -> str:
    """Write `events.jsonl`, ordered by time.

    Args:
        folder: of the run, with its frames rendered.
        scenario: what is flown.
        seed: of the run.

    Returns:
        The log's SHA-256.

    Raises:
        OutputError: the disk is full or the folder is gone.
    """
    lines = [*_world(scenario), *_links(scenario), *_programs(scenario), *_answers(scenario, seed), *_frames(folder)]
    lines.sort(key=lambda line: line["at_s"])
    head = {"kind": "run", "scenario": scenario.name, "seed": seed, "settings": scenario.model_dump(mode="json")}
    content = "".join(json.dumps(line, sort_keys=True) + "\n" for line in [head, *lines]).encode()
    try:
        folder.events.write_bytes(content)
    except OSError as exc:
        raise OutputError(f"{folder.events}: cannot be written ({exc.strerror}); free some space") from exc
    return hashlib.sha256(content).hexdigest()


def _world(scenario: Scenario) -> Iterator[Line]:
    for event in scenario.event:
        yield {"kind": "event", "what": event.kind, **event.model_dump(mode="json", exclude={"kind"})}


def _links(scenario: Scenario) -> Iterator[Line]:
    for craft in scenario.craft:
        for start, end in link_spans(scenario, craft.name):
            yield {"kind": "link", "craft": craft.name, "state": "up", "at_s": start}
            if not math.isinf(end):
                yield {"kind": "link", "craft": craft.name, "state": "down", "at_s": end}


def _programs(scenario: Scenario) -> Iterator[Line]:
    for step in steps_of(scenario):
        yield {"kind": "fault", "what": step.deed, "craft": step.craft, "at_s": step.at_s}


def _answers(scenario: Scenario, seed: int) -> Iterator[Line]:
    """How the operator answers the first cases, whenever they come."""
    if scenario.operator is not None:
        for number, decision in enumerate(islice(decisions(scenario.operator, seed), _ANSWERS)):
            is_error = decision.is_error
            yield {"kind": "answer", "number": number, "is_error": is_error, "choice": decision.choice, "at_s": 0.0}


def _frames(folder: RunFolder) -> Iterable[Line]:
    """Each frame with the digest of its file, and the digest of each craft's truth."""
    for craft in folder.craft:
        yield {"kind": "truth", "craft": craft.name, "sha256": _digest(craft.flight / "annotations.json"), "at_s": 0.0}
        for text in (craft.flight / "frames.jsonl").read_text().splitlines():
            record = json.loads(text)
            digest = _digest(craft.flight / record["file"])
            yield {"kind": "frame", "craft": craft.name, "at_s": record["time_s"], "sha256": digest, **_pose(record)}


def _pose(record: Line) -> Line:
    return {"index": record["index"], "pose": record["pose"]}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
