"""Prompts made with the twin find the same kind of thing elsewhere, and nothing else."""

import numpy as np
import pytest

from cloud.case_images import CaseImage
from cloud.config import PromptSettings
from cloud.errors import PromptRefused
from cloud.evidence import background_rows, look, pool_things, true_rows
from cloud.merging import add_negatives, merge_prompts
from cloud.prompt_forms import choose_threshold
from cloud.prompting import Finding, build_prompt, replay, size_range
from edge.chips import pool_boxes
from protocols.values import Vectors, canonical_prompts

SETTINGS = PromptSettings()
NONE = np.zeros((0, 4), np.float32)
NO_BACKGROUND = ()


def finding(boxes, origin="teacher"):
    return Finding("debris", boxes, NONE, origin, 0.9, "craft", "0" * 32)


def build(twin, evidence, found, background=NO_BACKGROUND):
    return build_prompt(twin, evidence, found, background, ("p1", 1000.0), SETTINGS)


@pytest.fixture
def scene(twin, painting):
    def make(*spots, gsd_m=None):
        return look(twin, CaseImage(painting.paint(*spots)), gsd_m)

    return make


@pytest.fixture
def prompt(twin, scene, painting):
    evidence = scene((50, 50, painting.GREEN), (110, 50, painting.BLUE), (50, 110, painting.BLUE), gsd_m=0.1)
    return build(twin, evidence, finding(painting.box_at((50, 50))))


def test_rows_tell_the_thing_from_the_background(scene, painting):
    evidence, boxes = scene((50, 50, painting.GREEN), (110, 50, painting.BLUE)), painting.box_at((50, 50))
    near, far = evidence.seen.boxes_xyxy[true_rows(evidence.seen, boxes) == 0], background_rows(evidence.seen, boxes)
    assert (np.abs((near[:, :2] + near[:, 2:]) / 2 - 50) < 8).all()
    assert len(near) > 0
    assert (evidence.seen.boxes_xyxy[far][:, 0] > 80).all()


def test_pooled_vector_is_that_of_the_thing(twin, scene, painting):
    evidence, boxes = scene((50, 50, painting.GREEN)), painting.box_at((50, 50))
    pooled = pool_boxes(evidence.seen, boxes, twin.manifest.stride_px)
    assert (evidence.seen.embeddings[true_rows(evidence.seen, boxes) == 0] @ pooled[0]).max() > 0.99


def test_prompt_finds_the_kind_elsewhere(prompt, scene, painting):
    other = scene((90, 40, painting.GREEN), (40, 100, painting.BLUE))
    result = replay((prompt,), other, finding(painting.box_at((90, 40))))
    assert result.is_perfect


def test_prompt_says_nothing_without_the_kind(prompt, scene, painting):
    assert replay((prompt,), scene((40, 100, painting.BLUE)), finding(NONE)).is_perfect


def test_prompt_is_small_and_complete(prompt, twin):
    assert len(canonical_prompts([prompt])) <= 24_000
    assert (prompt.space_id, prompt.variant, prompt.case_id) == (twin.manifest.space_id, "fp32", "0" * 32)
    assert prompt.size_px == pytest.approx((16 / 1.5, 16 * 1.5))
    assert prompt.size_m == pytest.approx((1.6 / 1.5, 1.6 * 1.5))
    assert len(prompt.negatives) >= 1


def test_chip_embeds_like_the_frame(prompt, twin, scene, painting):
    from protocols import decode_image

    chip = prompt.chips[0]
    assert chip.scale == 1.0
    evidence = look(twin, CaseImage(decode_image(chip.jpeg, "image/jpeg")), None)
    pooled = pool_boxes(evidence.seen, np.array([chip.box_xyxy], np.float32), twin.manifest.stride_px)
    assert (pooled @ prompt.positives.to_array().T).max() > 0.97


def test_build_refuses_boxes_outside(twin, scene, painting):
    with pytest.raises(PromptRefused, match="no box lies within"):
        build(twin, scene((50, 50, painting.GREEN)), finding(painting.box_at((400, 400))))


def test_build_refuses_what_looks_like_background(twin, scene, painting):
    evidence = scene((50, 50, painting.GREEN), (110, 50, painting.GREEN), (50, 110, painting.GREEN))
    with pytest.raises(PromptRefused):
        build(twin, evidence, finding(painting.box_at((50, 50))))


def test_threshold_lies_between_background_and_thing():
    background = np.linspace(0.0, 0.6, 101, dtype=np.float32)
    assert 0.58 < choose_threshold(background, 0.9, SETTINGS) < 0.9
    assert choose_threshold(background[:0], 0.8, SETTINGS) == pytest.approx(0.2)
    with pytest.raises(PromptRefused, match="looks like it"):
        choose_threshold(background, 0.5, SETTINGS)


def test_size_range_is_widened(painting):
    assert size_range(painting.box_at((50, 50)), 0.5) == pytest.approx((8 / 1.5, 12))


def test_merge_keeps_both(prompt):
    prompt = prompt.model_copy(update={"threshold": 0.61})
    other = prompt.model_copy(update={"size_px": (4.0, 8.0), "threshold": 0.65, "scope": "fleet"})
    merged = merge_prompts(prompt, other, NO_BACKGROUND, SETTINGS)
    assert merged.size_px == (4.0, pytest.approx(24.0))
    assert merged.threshold == pytest.approx(0.63)
    assert merged.scope == "fleet"
    assert len(merged.positives) <= 8


def test_merge_stays_above_recent_background(prompt):
    near = prompt.positives.to_array() + 0.1
    near = near / np.linalg.norm(near, axis=1, keepdims=True)
    prompt = prompt.model_copy(update={"threshold": SETTINGS.floor})
    assert merge_prompts(prompt, prompt, [near], SETTINGS).threshold > SETTINGS.floor


def test_merge_keeps_the_rate_on_the_background_of_many_cases_while_its_chips_are_found(prompt):
    settings = SETTINGS.model_copy(update={"false_per_frame": 0.5})
    (chip,), positive = prompt.chips, prompt.positives.to_array()[0]
    aside = np.eye(8, dtype=np.float32)[7] - positive[7] * positive
    aside /= np.linalg.norm(aside)
    near = [(c * positive + np.sqrt(1 - c * c) * aside)[None] for c in (0.7, 0.72, 0.74, 0.76)]
    bare = prompt.model_copy(update={"negatives": prompt.negatives.from_array(near[0][:0])})
    merged = merge_prompts(bare, bare, near, settings)
    assert chip.vector is not None
    matched = [float((v @ merged.positives.to_array().T).max()) > merged.threshold for v in near]
    assert matched == [False, False, True, True]
    twins = [chip.vector.to_array()] * 4
    assert merge_prompts(bare, bare, twins, settings).threshold < float((twins[0] @ positive)[0])


def directed(prompt, vector, **changes):
    """A prompt of one direction."""
    one = np.asarray(vector, np.float32).reshape(1, -1)
    fields = {"positives": Vectors.from_array(one), "negatives": Vectors.from_array(one[:0])}
    return prompt.model_copy(update=fields | {"direction_cases": 1, "threshold": 0.4} | changes)


def test_merged_directions_have_the_say_of_their_cases(prompt):
    x, y = np.eye(8)[:2]
    merged = merge_prompts(
        directed(prompt, x, direction_cases=3), directed(prompt, y, threshold=0.44), NO_BACKGROUND, SETTINGS
    )
    assert merged.positives.to_array()[0] @ x == pytest.approx(3 / np.sqrt(10), abs=0.01)
    assert (merged.direction_cases, len(merged.negatives)) == (4, 0)
    assert merged.threshold == pytest.approx(0.41)


@pytest.mark.parametrize("direction_first", [True, False])
def test_merged_with_a_direction_prototypes_become_one(prompt, direction_first):
    street = np.eye(8, dtype=np.float32)[2:4]
    away = prompt.positives.to_array().mean(axis=0) - street.mean(axis=0)
    away = away / np.linalg.norm(away)
    pair = [directed(prompt, away, threshold=0.43), prompt]
    old, new = pair if direction_first else pair[::-1]
    merged = merge_prompts(old, new, [street], SETTINGS)
    assert merged.positives.to_array()[0] @ away > 0.99
    assert (merged.direction_cases, merged.threshold) == (2, pytest.approx(0.43))


@pytest.mark.parametrize(("cosine", "threshold"), [(0.3, 0.41), (0.43, 0.43), (0.8, SETTINGS.direction_ceiling)])
def test_merged_direction_stays_above_recent_background_up_to_the_ceiling(prompt, cosine, threshold):
    x, y = np.eye(8, dtype=np.float32)[:2]
    held = directed(prompt, x, threshold=0.41)
    near = (cosine * x + np.sqrt(1 - cosine**2) * y)[None]
    assert merge_prompts(held, held, [near], SETTINGS).threshold == pytest.approx(threshold, abs=0.01)


def test_merged_direction_keeps_thresholds_over_the_ceiling_that_its_cases_asked_for(prompt):
    x = np.eye(8, dtype=np.float32)[0]
    held = directed(prompt, x, threshold=0.6)
    assert merge_prompts(held, held, [x[None]], SETTINGS).threshold == pytest.approx(0.6)


def test_direction_turns_away_from_what_it_must_not_match_and_no_further(prompt):
    x, y = np.eye(8, dtype=np.float32)[:2]
    mistaken, harmless = 0.8 * x + 0.6 * y, 0.3 * x + np.sqrt(0.91) * y
    held = directed(prompt, x)
    turned = add_negatives(held, mistaken[None], 2000.0)
    assert turned.positives.to_array()[0] @ mistaken == pytest.approx(held.threshold, abs=0.01)
    assert (len(turned.negatives), turned.issued_at_s) == (0, 2000.0)
    assert add_negatives(held, harmless[None], 2000.0) is held


def test_prompt_of_one_thing_among_others_is_a_direction_and_finds_the_kind(twin, scene, painting):
    spots = [(50, 110), (110, 50), (110, 110), (140, 140), (20, 140)]
    evidence = scene((50, 50, painting.GREEN), *((*spot, painting.BLUE) for spot in spots))
    prompt = build(twin, evidence, finding(painting.box_at((50, 50))))
    assert (prompt.direction_cases, prompt.temperature) == (1, SETTINGS.direction_temperature)
    other = scene((90, 40, painting.GREEN), (40, 100, painting.BLUE))
    assert replay((prompt,), other, finding(painting.box_at((90, 40)))).is_perfect


def test_add_negatives_only_what_is_new(prompt):
    known = prompt.negatives.to_array()
    assert add_negatives(prompt, known, 2.0) is prompt
    new = np.roll(known[:1], 1, axis=1)
    assert len(add_negatives(prompt, new, 2.0).negatives) == len(known) + 1


def test_thing_is_pooled_inside_its_mask_and_in_the_core_of_its_box_without_one(twin, scene, painting):
    evidence = scene((40, 50, painting.GREEN), (104, 50, painting.BLUE))
    box = np.array([[32, 42, 112, 58]], np.float32)  # both of them; its core shows neither
    green, blue = (pool_boxes(evidence.seen, painting.box_at(spot), 4)[0] for spot in ((40, 50), (104, 50)))
    mask = np.zeros((1, 80, 80), np.bool_)  # on half the image's raster
    mask[0, 21:29, 16:24] = True
    (inside,) = pool_things(evidence, box, mask, 4)
    assert inside @ green > 0.99 > inside @ blue
    nowhere = np.zeros((1, 80, 80), np.bool_)
    np.testing.assert_array_equal(pool_things(evidence, box, nowhere, 4), pool_boxes(evidence.seen, box, 4))
    np.testing.assert_array_equal(pool_things(evidence, box, None, 4), pool_boxes(evidence.seen, box, 4))


def test_prompt_of_a_long_thing_is_made_of_its_mask(twin, scene, painting):
    evidence = scene((40, 50, painting.GREEN), (120, 50, painting.BLUE), (50, 110, painting.BLUE))
    boxes = np.array([[32, 42, 96, 58]], np.float32)
    masks = np.zeros((1, 160, 160), np.bool_)
    masks[0, 42:58, 32:48] = True
    found = Finding("debris", boxes, NONE, "person", 0.9, "craft", "0" * 32, masks)
    prompt = build(twin, evidence, found)
    result = replay((prompt,), scene((90, 40, painting.GREEN)), finding(painting.box_at((90, 40))))
    assert result.is_perfect


def test_masks_of_boxes_outside_the_image_are_left_out_with_them(twin, scene, painting):
    boxes, masks = painting.box_at((400, 400), (50, 50)), np.zeros((2, 160, 160), np.bool_)
    masks[1, 42:58, 42:58] = True
    found = Finding("debris", boxes, NONE, "person", 0.9, "craft", "0" * 32, masks)
    assert build(twin, scene((50, 50, painting.GREEN), (110, 50, painting.BLUE)), found).label == "debris"
