import numpy as np
import pytest

from edge.agent import Agent
from edge.bank import BankStore
from edge.outputs import RunOutputs
from edge.prompting import PromptMatcher
from edge.student import Student
from protocols.values import PromptBank
from sim.bench import PROMPTS, MemorySource, OverheadOptions, Rounds, bench_overhead, measure, random_prompts
from sim.display import Display

PICTURES = [np.full((64, 96, 3), shade, np.uint8) for shade in (40, 90, 140)]


def test_memory_source_flies_to_and_fro():
    frames = list(MemorySource(PICTURES, 6))
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [40, 90, 140, 90, 40, 90]
    assert [frame.header.index for frame in frames] == list(range(6))


def test_memory_source_with_one_picture_repeats_it():
    assert len(list(MemorySource(PICTURES[:1], 3))) == 3


def test_random_prompts_are_full_size_and_fit_a_bank(tiny_bundle):
    prompts = random_prompts(PROMPTS, tiny_bundle, seed=1)
    bank = PromptBank(epoch="e", revision=1, prompts=prompts)
    matcher = PromptMatcher(bank, tiny_bundle.manifest.space_id)
    assert len(matcher.prompts) == PROMPTS
    assert {(len(p.positives), len(p.negatives)) for p in prompts} == {(8, 24)}


def test_same_seed_gives_the_same_vectors(tiny_bundle):
    first, second = (random_prompts(2, tiny_bundle, seed=3) for _ in range(2))
    assert [p.positives for p in first] == [p.positives for p in second]


def test_summary_compares_medians():
    summary = Rounds(agent_fps=[9.0, 10.0, 1.0], session_fps=[10.0, 20.0, 12.0]).summary()
    assert (summary["agent_fps"], summary["session_fps"], summary["ratio"]) == (9.0, 12.0, 0.75)
    assert len(summary["rounds"]) == 3


def test_rounds_alternate_and_every_frame_is_written(tiny_bundle, tmp_path):
    rounds = Rounds()
    with RunOutputs(tmp_path, fps=15, video=False) as outputs:
        agent = Agent(student=Student.open(tiny_bundle), bank=BankStore(tmp_path / "bank"), outputs=outputs)
        measure(agent, tiny_bundle, PICTURES, OverheadOptions(rounds=2, frames=5), rounds)
    assert len(rounds.agent_fps) == len(rounds.session_fps) == 2
    assert len((tmp_path / "detections.jsonl").read_text().splitlines()) == 8 + 2 * 5


@pytest.mark.slow
def test_overhead_runs_against_a_real_gateway(tiny_bundle):
    result = bench_overhead(OverheadOptions(bundle=tiny_bundle.folder, rounds=2, frames=150, pictures=4), Display())
    assert set(result) >= {"ratio", "agent_fps", "session_fps"}
    assert result["prompts"] == PROMPTS
    assert result["cases_delivered"] >= 1
