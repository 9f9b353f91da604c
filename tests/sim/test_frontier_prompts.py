import numpy as np
import pytest
from builders import scene

from distill.evaluate import ImageDetections, ImageTruth
from distill.reward_fit import SENT_AS, SENT_QUALITY, Seen, known_detections
from edge.reward import RewardModel, claims_of, feature_names
from edge.student import Student
from protocols.imagery import encode_image
from protocols.values import PromptBank
from sim.frontier_prompts import BUDGETS, PromptStream, bench_with_prompts, relooked, update_bytes

GREEN = (60, 220, 60)


def no_progress(_):
    pass


@pytest.fixture(scope="module")
def stream(tiny_bundle):
    """Frames with a green square each, which the student has no name for and the teacher calls a bicycle."""
    student = Student.open(tiny_bundle, threads=1)
    looked, truths = [], []
    rng = np.random.default_rng(0)
    for _ in range(80):
        x, y = (int(v) * 4 for v in rng.integers(5, 25, 2))
        image = scene((x, y, GREEN))
        perception = student.perceive(image)
        box = np.array([[x - 8, y - 8, x + 8, y + 8]], np.float32)
        answer = ImageDetections(box, ["Bicycle"], np.array([0.9], np.float32))
        own = known_detections(student, perception, 0.02)
        payload = encode_image(image, SENT_AS, SENT_QUALITY)
        looked.append(Seen(perception, claims_of(student, perception), own, answer, answer, "flight", payload))
        truths.append(ImageTruth(box, ["Bicycle"], [False]))
    names = feature_names(student.manifest.labels)
    model = RewardModel(
        space_id=student.manifest.space_id,
        variant="fp32",
        features=names,
        weights=tuple(float(name == "unnamed.one") for name in names),
        looks={},
        full=1.0,
    )
    return PromptStream(student, model, looked, truths, 8000.0, 0)


def test_prompt_sets_frames_right_that_were_never_sent(stream):
    found = bench_with_prompts(stream)
    assert found["edge_only"]["f1"] < 0.1
    ours, without = (found["policies"][name][-1] for name in ("ours", "ours_without_prompts"))
    assert without["set_right"] == without["cases"] > 0
    assert ours["set_right"] > ours["cases"] > 0
    assert ours["prompt_bytes"] > 0 == without["prompt_bytes"]


def test_no_way_spends_more_than_its_budget(stream):
    for points in bench_with_prompts(stream)["policies"].values():
        assert [point["budget"] for point in points] == list(BUDGETS)
        for point in points:
            # A prompt is known only once its case has been paid for.
            assert point["bytes"] - point["prompt_bytes"] <= point["budget"] * 8000 * 80


def test_relooked_keeps_the_teachers_answers(stream):
    anew = relooked(stream.student, stream.looked[:2], lambda _: scene(), no_progress)
    assert [seen.cloud for seen in anew] == [seen.cloud for seen in stream.looked[:2]]
    assert not len(anew[0].claims.rows)


def test_update_of_nothing_is_a_few_hundred_bytes():
    bank = PromptBank.empty("e")
    assert 100 < update_bytes(bank, PromptBank(epoch="e", revision=1)) < 1500
