"""Prompts whose chips this craft's student embeds as the twin did fly as they came; others are rebuilt from them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import scene

from cloud.case_images import CaseImage
from cloud.chips import make_chips, with_vectors
from edge.bank import BankStore
from edge.bundle import bundled_student, load_bundle
from edge.chip_check import STRICT_THRESHOLD, ChipCheck, rotate
from edge.chips import MAX_EMBED_SIDE_PX, embed_chip
from edge.prompting import PromptMatcher
from edge.runtime.agreement import MIN_COSINE
from edge.student import Student, unit_rows
from edge.tiling import TiledStudent
from protocols.errors import ImageryError
from protocols.imagery import encode_image
from protocols.values import BankChange, Chip, Prompt, PromptBank
from protocols.vectors import Vectors

GREEN, BLUE = (60, 220, 60), (250, 90, 60)
SPOT = np.array([[26, 26, 42, 42]], np.float32)


class Perturbed:
    """A mock: a backend that computes another embedding than it should, as a faulty driver might."""

    def __init__(self, backend, shift):
        self.name, self._backend, self._shift = "perturbed", backend, np.asarray(shift, np.float32)
        self.runs = 0

    def run(self, image):
        self.runs += 1
        raw = self._backend.run(image)
        unit = raw.embedding / np.linalg.norm(raw.embedding, axis=0, keepdims=True).clip(1e-6)
        return replace(raw, embedding=unit + self._shift[:, None, None])


@pytest.fixture
def student(tiny_bundle):
    return Student.open(tiny_bundle, threads=1)


@pytest.fixture
def perturb(student):
    """The same student on a backend whose embeddings are shifted by so much, in a direction of no colour."""

    def make(amount):
        shift = np.random.default_rng(2).normal(size=student.manifest.embedding_dim)
        return Student(student.bundle, Perturbed(student.backend, amount * shift / np.linalg.norm(shift)))

    return make


def make_prompt(twin, **changes):
    """The twin's prompt for the green spot, with one chip."""
    image = scene((34, 34, GREEN))
    none = np.zeros((0, twin.manifest.embedding_dim), np.float32)
    fields = {
        "prompt_id": "green",
        "label": "Green",
        "space_id": twin.manifest.space_id,
        "variant": "fp32",
        "positives": Vectors.from_array(twin.perceive(image).embeddings[:1]),
        "negatives": Vectors.from_array(none),
        "threshold": 0.9,
        "chips": with_vectors(twin, make_chips(CaseImage(image), SPOT, twin.manifest.multiple_px)),
        "issued_at_s": 1.0,
        "origin": "person",
        "confidence": 1.0,
    }
    return Prompt(**{**fields, **changes})


def bank_of(*prompts, revision=1):
    return PromptBank(epoch="e", revision=revision, prompts=prompts)


def checked(student, *prompts):
    check = ChipCheck(student, bank_of(*prompts))
    for _ in range(20):
        check.embed_next()
    return check


def found(student, bank, image):
    seen = student.perceive(image)
    match = PromptMatcher(bank, student.manifest.space_id).match(seen, 2.0)
    return seen.boxes_xyxy[match.rows[match.sure]]


def test_prompt_flies_as_it_came_where_the_chips_embed_alike(student):
    prompt = make_prompt(student)
    check = checked(student, prompt)
    assert check.flown.prompts[0] is prompt
    assert (check.counts.compared, check.counts.rebuilt) == (1, 0)
    assert check.counts.least_cosine > 0.999


def test_prompt_is_rebuilt_and_finds_again_on_a_backend_that_computes_otherwise(student, perturb):
    other, prompt = perturb(1.0), make_prompt(student)
    image = scene((100, 66, GREEN), (34, 100, BLUE))
    assert len(found(other, bank_of(prompt), image)) == 0
    check = checked(other, prompt)
    flown = check.flown
    assert check.counts.least_cosine < MIN_COSINE
    assert (check.counts.rebuilt, check.counts.waiting) == (1, 0)
    assert np.abs(found(other, flown, image) - (92, 58, 108, 74)).max() <= 4
    assert flown.prompts[0].threshold == prompt.threshold


def test_direction_is_turned_with_its_chips(student, perturb):
    green, blue = (student.perceive(scene((34, 34, colour))).embeddings[0] for colour in (GREEN, BLUE))
    away = Vectors.from_array(unit_rows((green - blue)[None]))
    prompt = make_prompt(student, positives=away, direction_cases=1, threshold=0.4)
    other = perturb(1.0)
    (flown,) = checked(other, prompt).flown.prompts
    chip = prompt.chips[0]
    assert flown.direction_cases == 1
    meant = float(away.to_array()[0] @ embed_chip(student, chip))
    assert flown.positives.to_array()[0] @ embed_chip(other, chip) == pytest.approx(meant, abs=0.02)


def test_small_disagreement_rebuilds_nothing(student, perturb):
    prompt = make_prompt(student)
    check = checked(perturb(0.05), prompt)
    assert check.flown.prompts == (prompt,)
    assert (check.counts.compared, check.counts.rebuilt) == (1, 0)


def test_prompt_of_another_space_is_rebuilt_strictly_from_its_chips(student):
    negative = Vectors.from_array(-np.eye(1, student.manifest.embedding_dim, dtype=np.float32))
    prompt = make_prompt(student, space_id="another", negatives=negative, threshold=0.3)
    (flown,) = checked(student, prompt).flown.prompts
    assert (flown.space_id, flown.threshold, len(flown.negatives)) == ("0123456789abcdef", STRICT_THRESHOLD, 0)
    assert len(found(student, bank_of(flown), scene((100, 66, GREEN), (34, 100, BLUE)))) == 1


@pytest.mark.parametrize(
    ("chips", "counts"),
    [
        pytest.param((), (0, 1), id="without-chips"),
        pytest.param((Chip(jpeg=b"no picture", box_xyxy=(0, 0, 8, 8), scale=1),), (0, 1), id="with-a-damaged-chip"),
    ],
)
def test_prompt_of_another_space_that_cannot_be_rebuilt_stays_unused(student, chips, counts):
    check = checked(student, make_prompt(student, space_id="another", chips=chips))
    assert len(found(student, check.flown, scene((34, 34, GREEN)))) == 0
    assert (check.counts.rebuilt, check.counts.unused) == counts


def test_reason_of_an_unused_prompt_names_spaces_and_cure(student, capsys):
    check = checked(student, make_prompt(student, space_id="another", chips=()))
    assert check.flown.prompts
    said = capsys.readouterr().out
    assert "prompt unused" in said
    assert "space another, this student of 0123456789ab, and it has no chips" in said


def test_at_most_one_chip_is_embedded_a_frame_and_none_twice(student, perturb):
    other, prompt = perturb(0.0), make_prompt(student)
    chips = [c.model_copy(update={"scale": 1 + i / 100}) for i, c in enumerate(prompt.chips * 8)]
    prompts = [prompt.model_copy(update={"prompt_id": f"p{i}", "chips": (chip,)}) for i, chip in enumerate(chips)]
    check = ChipCheck(other, bank_of(*prompts))
    for frame in range(1, 12):
        check.embed_next()
        assert other.backend.runs == min(frame, 8)
    assert check.flown.prompts
    check.use(bank_of(*prompts, revision=2))
    check.embed_next()
    assert other.backend.runs == 8


def test_flown_bank_is_one_object_while_nothing_changes(student, perturb):
    check = ChipCheck(perturb(1.0), bank_of(make_prompt(student)))
    before = check.flown
    assert check.flown is before
    check.embed_next()
    after = check.flown
    assert after is not before
    assert check.flown is after
    check.use(bank_of(make_prompt(student), revision=2))
    assert check.flown is after


def test_bank_on_the_disk_stays_as_it_came(student, perturb, tmp_path):
    bank = bank_of(make_prompt(student))
    store = BankStore(tmp_path)
    store.apply(BankChange(base=None, target=bank.ref, upserts=bank.prompts))
    assert checked(perturb(1.0), *store.current.prompts).flown != bank
    assert BankStore(tmp_path).current == bank


def test_chip_that_is_too_large_is_refused_before_it_is_decoded(student):
    (chip,) = make_prompt(student).chips
    with pytest.raises(ImageryError, match=f"{MAX_EMBED_SIDE_PX} at most"):
        embed_chip(student, chip.model_copy(update={"scale": 0.1}))
    huge = encode_image(np.zeros((8192, 64), np.uint8), "image/jpeg", 1)
    with pytest.raises(ImageryError, match=f"{MAX_EMBED_SIDE_PX} at most"):
        embed_chip(student, chip.model_copy(update={"jpeg": huge[:8000]}))


def test_tiled_student_embeds_a_chip_whole(student):
    (chip,) = make_prompt(student).chips
    tiled = TiledStudent(student.bundle, student.backend, 64)
    np.testing.assert_array_equal(embed_chip(tiled, chip), embed_chip(student, chip))


def test_shrunken_chip_embeds_as_the_thing_in_the_frame(student):
    (chip,) = make_prompt(student).chips
    whole = embed_chip(student, chip)
    image = scene((34, 34, GREEN))[::2, ::2]
    small = Chip(jpeg=encode_image(image, "image/jpeg", 90), box_xyxy=(13, 13, 21, 21), scale=0.5)
    assert embed_chip(student, small) @ whole > 0.99


def test_rotate_takes_one_vector_to_the_other_and_keeps_cosines():
    rng = np.random.default_rng(1)
    before, after, *others = unit_rows(rng.normal(size=(6, 32)))
    turned = rotate(np.stack([before, *others]), before, after)
    np.testing.assert_allclose(turned[0], after, atol=1e-6)
    np.testing.assert_allclose(
        turned @ turned.T, np.stack([before, *others]) @ np.stack([before, *others]).T, atol=1e-5
    )


def test_prompt_of_the_fp32_file_flies_as_it_came_on_the_bundled_u8s8_file():
    folder = Path(bundled_student())
    twin, craft = (Student.open(load_bundle(folder, name), threads=1) for name in ("fp32", "u8s8"))
    prompt = make_prompt(twin)
    check = checked(craft, prompt)
    assert check.flown.prompts[0] is prompt
    assert check.counts.least_cosine > MIN_COSINE
