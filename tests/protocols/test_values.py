"""Values: bounds, quantised vectors, prompt banks and their changes."""

from __future__ import annotations

import runpy
from pathlib import Path

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import protocols as p
from protocols import limits

MAKE = runpy.run_path(str(Path(__file__).parent / "golden" / "make.py"))
prompt, make_case, make_interpretation = MAKE["prompt"], MAKE["case"], MAKE["interpretation"]


def bank(*ids, revision=1, epoch="e", **changes):
    prompts = tuple(prompt(i).model_copy(update=changes) for i in ids)
    return p.PromptBank(epoch=epoch, revision=revision, prompts=prompts)


# --- single values ---


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("lat_deg", 90.1),
        ("lon_deg", -181),
        ("altitude_m", float("nan")),
        ("yaw_deg", float("inf")),
        ("gsd_m", 0),
    ],
)
def test_pose_out_of_range_is_refused(field, value):
    with pytest.raises(ValidationError, match=field):
        p.Pose(**{field: value})


def detection(**changes):
    return p.Detection(**{"box_xyxy": (1, 2, 3, 4), "label": "car", "score": 0.5} | changes)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"box_xyxy": (3, 2, 1, 4)}, id="inside out"),
        pytest.param({"box_xyxy": (1, 2, 3)}, id="three corners"),
        pytest.param({"box_xyxy": (0, 0, 1, float("nan"))}, id="nan"),
        pytest.param({"box_xyxy": (0, 0, 1, 2**21)}, id="far away"),
        pytest.param({"label": ""}, id="no label"),
        pytest.param({"label": "x" * 65}, id="long label"),
        pytest.param({"label": "car\x1b[2J"}, id="control character"),
        pytest.param({"label": b"car"}, id="bytes for text"),
        pytest.param({"score": 1.01}, id="score"),
        pytest.param({"provenance": "prompt:"}, id="prompt without id"),
        pytest.param({"provenance": "edge\n"}, id="trailing newline"),
        pytest.param({"track_id": -1}, id="negative track"),
    ],
)
def test_detection_out_of_bounds_is_refused(changes):
    with pytest.raises(ValidationError):
        detection(**changes)


def test_detection_takes_numpy_numbers_as_plain_ones():
    box = tuple(np.array([1, 2, 3, 4], np.float32))
    made = detection(box_xyxy=box, score=np.float32(0.5), track_id=np.int64(7))
    assert made == detection(track_id=7)
    assert type(made.score) is float


def test_values_are_frozen_and_hashable():
    made = detection()
    with pytest.raises(ValidationError):
        made.score = 0.9
    assert hash(made) == hash(detection())


def test_unknown_field_is_ignored():
    assert detection(colour="red") == detection()


def test_model_copy_checks_like_a_new_value():
    with pytest.raises(ValidationError):
        detection().model_copy(update={"score": 2})
    before = bank("a")
    assert before.digest != before.model_copy(update={"prompts": ()}).digest


def test_best_detections_keeps_the_highest_scores():
    many = [detection(score=i / 1000) for i in range(300)]
    best = p.best_detections(many)
    assert len(best) == limits.MAX_CASE_DETECTIONS
    assert (best[0].score, best[-1].score) == (0.299, 0.1)


# --- vectors ---


@given(st.integers(0, 24), st.integers(1, 96), st.integers(0, 2**32 - 1))
def test_vectors_keep_direction_within_half_a_step(count, dim, seed):
    array = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    array /= np.linalg.norm(array, axis=1, keepdims=True)
    made = p.Vectors.from_array(array)
    back = made.to_array()
    assert (len(made), back.shape, back.dtype) == (count, (count, dim), np.float32)
    np.testing.assert_allclose(np.linalg.norm(back, axis=1), 1, atol=1e-6)
    # The error vector is at most sqrt(D)/2 steps of 1/127 of the largest component; D <= 96 and |v| = 1.
    steps = np.abs(array).max(axis=1, initial=0) / 127
    assert (np.linalg.norm(back - array, axis=1) <= np.sqrt(dim) * steps + 1e-6).all()


@pytest.mark.parametrize(
    "array",
    [
        pytest.param(np.zeros((2, 4)), id="zero row"),
        pytest.param(np.array([[1, np.nan]]), id="nan"),
        pytest.param(np.array([[1, np.inf]]), id="inf"),
        pytest.param(np.array([[1e300, 1]]), id="beyond float32"),
        pytest.param(np.ones(4), id="one axis"),
        pytest.param(np.ones((25, 4)), id="too many"),
        pytest.param(np.ones((1, 97)), id="too wide"),
        pytest.param(np.ones((1, 0)), id="no width"),
    ],
)
def test_from_array_refuses(array):
    with pytest.raises(p.ShapeError):
        p.Vectors.from_array(array)


@pytest.mark.parametrize(
    ("data", "scales"),
    [
        pytest.param(b"\1\1\1", np.ones(1, "<f4").tobytes(), id="data too short"),
        pytest.param(b"\1\1\1\1", b"\0\0\x80", id="scales cut off"),
        pytest.param(b"\1\1\1\1", np.array([np.nan], "<f4").tobytes(), id="nan scale"),
        pytest.param(b"\1\1\1\1", np.array([-1], "<f4").tobytes(), id="negative scale"),
        pytest.param(b"\0\0\0\0", np.ones(1, "<f4").tobytes(), id="zero row"),
        pytest.param(b"\x80\1\1\1", np.ones(1, "<f4").tobytes(), id="minus 128"),
        pytest.param(b"", np.ones(1, "<f4").tobytes(), id="no data"),
    ],
)
def test_vectors_from_a_peer_are_checked(data, scales):
    with pytest.raises(ValidationError):
        p.Vectors(dim=4, data=data, scales=scales)


def test_prompt_needs_a_positive_vector_and_one_dim():
    none = p.Vectors.from_array(np.zeros((0, 4), np.float32))
    assert len(prompt().model_copy(update={"negatives": none}).negatives) == 0
    with pytest.raises(ValidationError, match="positive"):
        prompt().model_copy(update={"positives": none})
    with pytest.raises(ValidationError, match="dim"):
        prompt().model_copy(update={"negatives": p.Vectors.from_array(np.ones((1, 5), np.float32))})


def test_prompt_of_a_direction_is_one_positive_alone():
    one = p.Vectors.from_array(np.ones((1, 4), np.float32))
    none = p.Vectors.from_array(np.zeros((0, 4), np.float32))
    alone = prompt().model_copy(update={"positives": one, "negatives": none, "direction_cases": 3})
    assert p.canonical_prompts([alone]) == p.canonical_prompts([alone.model_copy(update={"direction_cases": 0})])
    with pytest.raises(ValidationError, match=r"direction of 3 cases with 1 positive and 1 negative.*expected 1 and 0"):
        alone.model_copy(update={"negatives": one})
    with pytest.raises(ValidationError, match="direction_cases"):
        alone.model_copy(update={"direction_cases": limits.MAX_DIRECTION_CASES + 1})


def test_prompt_packed_before_directions_holds_prototypes():
    packed = prompt().model_dump(exclude={"direction_cases"})
    assert p.Prompt.model_validate(packed) == prompt()
    assert prompt().direction_cases == 0


def test_vector_of_a_chip_is_one_of_the_prompts_dim_and_outside_the_digest():
    one = p.Vectors.from_array(np.ones((1, 4), np.float32))
    (chip,) = prompt().chips
    seen = prompt().model_copy(update={"chips": (chip.model_copy(update={"vector": one}),)})
    assert p.canonical_prompts([seen]) == p.canonical_prompts([prompt()])
    assert p.bank_bytes([seen]) > p.bank_bytes([prompt()])
    with pytest.raises(ValidationError, match="a chip has one vector, not 2"):
        chip.model_copy(update={"vector": p.Vectors.from_array(np.ones((2, 4), np.float32))})
    with pytest.raises(ValidationError, match="another dim than the positives' 4"):
        prompt().model_copy(
            update={"chips": (chip.model_copy(update={"vector": p.Vectors.from_array(np.ones((1, 5)))}),)}
        )


def test_chip_packed_before_it_had_a_vector_is_read():
    (chip,) = prompt().chips
    assert p.Chip.model_validate(chip.model_dump(exclude={"vector"})) == chip


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("field", ["threshold", "temperature", "confidence", "expires_at_s", "scale"])
def test_change_with_a_number_that_is_not_finite_is_refused_and_the_bank_stays(field, number):
    held = bank("a")
    packed = p.diff_banks(held, bank("a", "b", revision=2)).model_dump()
    target = packed["upserts"][0]
    if field == "scale":
        target["positives"]["scales"] = np.array([number, 1], "<f4").tobytes()
    else:
        target[field] = number
    with pytest.raises(p.MessageError) as caught:
        p.apply_change(held, p.unpack_change(msgpack.packb(packed)))
    assert caught.value.code == "bad_value"
    assert len(str(caught.value)) <= limits.MAX_DETAIL_CHARS
    assert held == bank("a")


# --- banks ---


def test_digest_depends_on_prompts_alone():
    one = bank("a", "b")
    assert one.digest == bank("b", "a", revision=9, epoch="f").digest
    assert one.digest != bank("a", "b", threshold=0.5).digest
    assert one == bank("b", "a")


def test_digest_is_the_same_for_integers_given_as_floats():
    assert bank("a", size_px=(8, 96)).digest == bank("a", size_px=(8.0, 96.0)).digest


def test_bank_refuses_duplicates_too_many_and_too_large():
    with pytest.raises(ValidationError, match="twice"):
        bank("a", "a")
    with pytest.raises(ValidationError):
        bank(*(f"p{i}" for i in range(65)))
    chips = tuple(p.Chip(jpeg=bytes(8192), box_xyxy=(0, 0, 1, 1), scale=1) for _ in range(8))
    with pytest.raises(ValidationError, match="at most"):
        bank(*(f"p{i}" for i in range(20)), chips=chips)


@pytest.mark.parametrize(("jpeg_bytes", "dim"), [(3720, None), (3576, 96)], ids=["bare chips", "with vectors"])
def test_snapshot_of_the_largest_bank_fits_an_update(jpeg_bytes, dim):
    vector = None if dim is None else p.Vectors.from_array(np.ones((1, dim), np.float32))
    chips = tuple(p.Chip(jpeg=bytes(jpeg_bytes), box_xyxy=(0, 0, 1, 1), scale=1, vector=vector) for _ in range(4))
    wide = {} if vector is None else {"positives": vector, "negatives": vector}
    large = bank(*(f"{i:064}" for i in range(64)), chips=chips, **wide)
    packed = p.pack_change(p.diff_banks(None, large))
    assert limits.MAX_BANK_BYTES - 2**14 < len(packed) <= limits.MAX_UPDATE_BYTES
    assert p.unpack_change(packed).target == large.ref


bank_states = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from([0.25, 0.5, 0.75]))


@given(bank_states, bank_states)
def test_diff_applied_to_old_gives_new(old, new):
    before, after = (
        p.PromptBank(
            epoch="e",
            revision=revision,
            prompts=tuple(prompt(i).model_copy(update={"threshold": t}) for i, t in state.items()),
        )
        for revision, state in ((1, old), (2, new))
    )
    change = p.unpack_change(p.pack_change(p.diff_banks(before, after)))
    assert p.apply_change(before, change) == after
    assert {i.prompt_id for i in change.upserts} == {i for i in new if old.get(i) != new[i]}


def test_snapshot_applies_to_any_bank():
    change = p.diff_banks(bank("x", epoch="old"), bank("a"))
    assert change.base is None
    assert p.apply_change(bank("q", "r", epoch="other"), change) == bank("a")


def test_change_from_another_base_is_a_bank_mismatch():
    change = p.diff_banks(bank("a"), bank("a", "b", revision=2))
    with pytest.raises(p.MessageError) as caught:
        p.apply_change(bank("c"), change)
    assert caught.value.code == "bank_mismatch"


def test_change_with_another_resulting_digest_is_a_bank_mismatch():
    change = p.diff_banks(bank("a"), bank("a", "b", revision=2)).model_copy(update={"upserts": (prompt("z"),)})
    with pytest.raises(p.MessageError) as caught:
        p.apply_change(bank("a"), change)
    assert caught.value.code == "bank_mismatch"


def test_change_beyond_the_limits_is_a_bad_value():
    full = bank(*(f"p{i:02}" for i in range(64)))
    change = p.BankChange(base=full.ref, target=full.ref, upserts=(prompt("one-more"),))
    with pytest.raises(p.MessageError) as caught:
        p.apply_change(full, change)
    assert caught.value.code == "bad_value"


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"removed": ("p-1",)}, id="upserted and removed"),
        pytest.param({"base": None, "removed": ("x",)}, id="snapshot removes"),
        pytest.param({"base": bank(epoch="other").ref}, id="delta over epochs"),
    ],
)
def test_contradicting_change_is_refused(changes):
    change = p.BankChange(base=bank().ref, target=bank("p-1").ref, upserts=(prompt("p-1"),))
    with pytest.raises(ValidationError):
        change.model_copy(update=changes)


# --- cases and interpretations ---


def test_new_case_ids_are_valid_and_differ():
    ids = {p.new_case_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(make_case().model_copy(update={"case_id": i}) for i in ids)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"region_xyxy": (0, 0, 1921, 10)}, id="region beyond the frame"),
        pytest.param({"region_xyxy": (5, 5, 5, 10)}, id="empty region"),
        pytest.param({"payload_bytes": limits.MAX_CASE_BYTES + 1}, id="payload"),
        pytest.param({"payload_bytes": 0}, id="no payload"),
        pytest.param({"payload_sha256": "AB" * 32}, id="upper-case digest"),
        pytest.param({"reasons": {f"r{i}": 0 for i in range(17)}}, id="too many reasons"),
        pytest.param({"reasons": {"doubt": float("nan")}}, id="nan reason"),
        pytest.param({"hardness": 1.5}, id="hardness"),
        pytest.param({"media_type": "image/gif"}, id="media type"),
        pytest.param({"detections": (detection(),) * 201}, id="too many detections"),
        pytest.param({"case_id": "x" * 32}, id="case id"),
    ],
)
def test_case_out_of_bounds_is_refused(changes):
    with pytest.raises(ValidationError):
        make_case().model_copy(update=changes)


@pytest.mark.parametrize(
    "polygons",
    [
        pytest.param(((),), id="one for two detections"),
        pytest.param(((1, 2, 3, 4), ()), id="two corners"),
        pytest.param(((1, 2, 3, 4, 5, 6, 7), ()), id="odd"),
        pytest.param(((0,) * 130, ()), id="too many corners"),
    ],
)
def test_polygons_are_checked(polygons):
    with pytest.raises(ValidationError):
        make_interpretation().model_copy(update={"polygons": polygons})


def test_polygons_are_limited_in_sum():
    many = make_interpretation().model_copy(update={"polygons": None, "detections": (detection(),) * 50})
    with pytest.raises(ValidationError, match="simplify"):
        many.model_copy(update={"polygons": ((0,) * 64,) * 50})


def part(**changes):
    return p.CasePart(**{"region_xyxy": (0, 0, 64, 64), "payload_bytes": 10} | changes)


@pytest.mark.parametrize(
    ("further", "problem"),
    [
        pytest.param((part(region_xyxy=(1900, 0, 1930, 30)),), "leaves the frame", id="outside"),
        pytest.param((part(payload_bytes=40_000),), "leave no byte", id="all bytes"),
        pytest.param((part(),) * limits.MAX_CASE_PARTS, "at most 7", id="too many"),
    ],
)
def test_case_with_parts_that_cannot_be_is_refused(further, problem):
    with pytest.raises(ValidationError, match=problem):
        make_case().model_copy(update={"further": further})


def test_case_about_a_target_has_one_picture():
    with pytest.raises(ValidationError, match="2 pictures about one target"):
        MAKE["target_case"]().model_copy(update={"further": (part(),)})


def test_imagery_is_cut_into_the_pictures_of_the_parts():
    case = make_case().model_copy(update={"further": (part(), part(payload_bytes=30))})
    payload = bytes(range(250)) * 160
    assert [data for _, data in case.cut(payload)] == [payload[:-40], payload[-40:-30], payload[-30:]]
    assert b"".join(data for _, data in case.cut(payload)) == payload


def test_reader_that_knows_no_parts_sees_the_first_picture():
    first, second = (np.full((8, 8, 3), value, np.uint8) for value in (40, 200))
    for media_type in ("image/jpeg", "image/webp"):
        payload = p.encode_image(first, media_type) + p.encode_image(second, media_type)
        assert abs(int(p.decode_image(payload, media_type).mean()) - 40) < 4
