"""Messages: every kind goes through bytes and back; nothing a peer sends raises anything but MessageError."""

from __future__ import annotations

import contextlib
import hashlib
import runpy
from pathlib import Path

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import protocols as p
from protocols import limits

MAKE = runpy.run_path(str(Path(__file__).parent / "golden" / "make.py"))
GOLDEN = MAKE["messages"]()

# --- strategies ---

ids = st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True)
hex32, hex64 = (st.from_regex(rf"[0-9a-f]{{{n}}}", fullmatch=True) for n in (32, 64))
labels = st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=64)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=128)
reasons = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
units = st.floats(0, 1)
walls = st.floats(0, limits.MAX_WALL_TIME_S)
durations = st.none() | st.floats(0, limits.MAX_DURATION_S)
counters = st.integers(0, limits.MAX_REVISION)
coords = st.floats(-limits.MAX_COORD_PX, limits.MAX_COORD_PX)
credits_ = st.integers(0, limits.MAX_CREDIT_BYTES)
parts = st.sampled_from(["metadata", "archive"])
blobs = st.binary(min_size=1, max_size=300)
boxes = st.tuples(coords, coords, coords, coords).map(
    lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3]))
)
ranges = st.none() | st.tuples(st.floats(0.01, 1e4), st.floats(0.01, 1e4)).map(lambda r: (min(r), max(r)))
refs = st.builds(p.BankRef, epoch=ids, revision=counters, digest=hex64)
kinds = st.just(p.KINDS) | st.lists(st.from_regex("[A-Z][a-zA-Z0-9]{0,31}", fullmatch=True), max_size=5).map(tuple)
poses = st.none() | st.builds(
    p.Pose,
    lat_deg=st.none() | st.floats(-90, 90),
    lon_deg=st.none() | st.floats(-180, 180),
    altitude_m=st.none() | st.floats(-1000, 1e8),
    gsd_m=st.none() | st.floats(1e-6, 1e5),
)
provenances = st.sampled_from(["edge", "cloud", "person"]) | ids.map("prompt:{}".format)
detections = st.builds(
    p.Detection,
    box_xyxy=boxes,
    label=labels,
    score=units,
    provenance=provenances,
    track_id=st.none() | counters,
)
frames = st.builds(
    p.FrameHeader,
    index=counters,
    source_id=texts,
    captured_at_s=walls,
    width=st.integers(8, limits.MAX_FRAME_SIDE_PX),
    height=st.integers(8, limits.MAX_FRAME_SIDE_PX),
    bands=st.integers(1, limits.MAX_RAW_BANDS),
    pose=poses,
)
cases = st.builds(
    p.Case,
    case_id=hex32,
    frame=frames,
    region_xyxy=st.just((0, 0.5, 7, 8)),
    image_scale=st.floats(0.01, 64),
    detections=st.lists(detections, max_size=4).map(tuple),
    reasons=st.dictionaries(ids, units, max_size=4),
    hardness=units,
    space_id=texts,
    variant=texts,
    media_type=st.sampled_from(["image/jpeg", "image/png", "image/webp", "application/x-skyloop-raw"]),
    payload_bytes=st.integers(1000, limits.MAX_CASE_BYTES),
    payload_sha256=hex64,
    ttl_s=durations,
    further=st.lists(
        st.builds(p.CasePart, region_xyxy=st.just((1, 0, 8, 7.5)), payload_bytes=st.integers(1, 99)), max_size=3
    ).map(tuple),
    quality=st.none() | st.integers(1, 100),
    refines=st.none() | hex32,
)
corners = st.lists(st.tuples(coords, coords), min_size=3, max_size=6).map(lambda c: tuple(np.ravel(c).tolist()))


@st.composite
def interpretations(draw):
    found = draw(st.lists(detections, max_size=4).map(tuple))
    outlines = st.tuples(*(st.just(()) | corners for _ in found))
    return p.Interpretation(
        case_id=draw(hex32),
        detections=found,
        polygons=draw(st.none() | outlines),
        confidence=draw(units),
        by=draw(st.sampled_from(["teacher", "person"])),
        interpreter=draw(texts),
        made_at_s=draw(walls),
        supersedes=draw(st.none() | hex32),
    )


no_blob = st.just(b"")
updates = st.builds(
    p.PromptUpdate,
    update_id=ids,
    target=refs,
    total_bytes=st.integers(2**19, limits.MAX_UPDATE_BYTES),
    offset=st.integers(0, 2**18),
    sha256=hex64,
)
shares = st.tuples(units, units, units, units).map(
    lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3]))
)
places = st.one_of(
    st.fixed_dictionaries({}),
    st.fixed_dictionaries({"box_xyxy": boxes}),
    st.fixed_dictionaries({"box_xyxy": shares, "is_normalised": st.just(True)}),
    st.fixed_dictionaries({"point_xy": st.tuples(coords, coords)}),
)
seen_in = st.none() | st.builds(p.FrameRef, source_id=texts, index=counters, captured_at_s=walls, case_id=hex32)


@st.composite
def track_targets(draw):
    action = draw(st.sampled_from(["start", "stop", "status"]))
    place = draw(places) if action == "start" else {}
    common = {"label": draw(labels), "seen_in": draw(seen_in), "ttl_s": draw(durations)}
    return p.TrackTarget(target_key=draw(ids), action=action, **common, **place)


STRATEGIES = {
    "Hello": st.tuples(
        st.builds(
            p.Hello,
            craft_software=texts,
            boot_id=ids,
            session_id=ids,
            kinds=kinds,
            space_id=texts,
            variant=texts,
            labels=st.lists(labels, max_size=5).map(tuple),
            bank=refs,
            wall_time_s=walls,
            wants_credit_bytes=credits_,
            bundle_id=st.none() | ids,
        ),
        no_blob,
    ),
    "Welcome": st.tuples(
        st.builds(
            p.Welcome,
            server_software=texts,
            session_id=ids,
            kinds=kinds,
            credit_bytes=credits_,
            heartbeat_s=st.floats(limits.MIN_HEARTBEAT_S, limits.MAX_HEARTBEAT_S),
            wall_time_s=walls,
            bank=refs,
        ),
        no_blob,
    ),
    "Heartbeat": st.tuples(
        st.builds(
            p.Heartbeat,
            seq=counters,
            wall_time_s=walls,
            spool_cases=counters,
            spool_bytes=counters,
            bank=st.none() | refs,
            credit_bytes=st.none() | credits_,
        ),
        no_blob,
    ),
    "CaseOffer": st.tuples(st.builds(p.CaseOffer, case=cases), no_blob),
    "CaseChunk": st.tuples(st.builds(p.CaseChunk, case_id=hex32, offset=st.integers(0, 2**21)), blobs),
    "CaseReceipt": st.tuples(
        st.builds(
            p.CaseReceipt,
            case_id=hex32,
            payload_sha256=hex64,
            state=st.sampled_from(["partial", "stored", "refused"]),
            next_offset=st.integers(0, limits.MAX_CASE_BYTES),
            credit_bytes=credits_,
            retry_after_s=durations,
            reason=reasons,
        ),
        no_blob,
    ),
    "Interpretation": st.tuples(st.builds(p.InterpretationMessage, interpretation=interpretations()), no_blob),
    "InterpretationReceipt": st.tuples(st.builds(p.InterpretationReceipt, case_id=hex32), no_blob),
    "PromptUpdate": st.tuples(updates, blobs),
    "PromptReceipt": st.tuples(
        st.builds(p.PromptReceipt, update_id=ids, bank=refs, applied=st.booleans(), reason=reasons), no_blob
    ),
    "RefineRequest": st.tuples(
        st.builds(
            p.RefineRequest,
            request_id=ids,
            case_id=hex32,
            region_xyxy=st.none() | boxes,
            quality=st.integers(1, 100),
        ),
        no_blob,
    ),
    "TrackTarget": st.tuples(track_targets(), no_blob),
    "TargetStatus": st.tuples(
        st.builds(
            p.TargetStatus,
            target_key=ids,
            state=st.sampled_from(["waiting", "tentative", "tracked", "lost", "re_found", "stopped", "refused"]),
            reason=reasons,
            target_id=st.none() | counters,
            box_xyxy=st.none() | boxes,
            presence=st.none() | units,
            frame_index=st.none() | counters,
            captured_at_s=st.none() | walls,
        ),
        no_blob,
    ),
    "BundleOffer": st.tuples(
        st.builds(
            p.BundleOffer,
            offer_id=ids,
            action=st.sampled_from(["take", "go_back"]),
            bundle_id=ids,
            metadata_bytes=st.integers(1, limits.MAX_BUNDLE_METADATA_BYTES),
            metadata_sha256=hex64,
            archive_bytes=st.integers(1, limits.MAX_BUNDLE_BYTES),
            archive_sha256=hex64,
        ),
        no_blob,
    ),
    "BundleChunk": st.tuples(
        st.builds(p.BundleChunk, offer_id=ids, part=parts, offset=st.integers(0, limits.MAX_BUNDLE_BYTES - 300)), blobs
    ),
    "BundleReceipt": st.tuples(
        st.builds(
            p.BundleReceipt,
            offer_id=ids,
            state=st.sampled_from(["fetching", "verified", "on_trial", "in_force", "refused", "gone_back"]),
            part=parts,
            next_offset=st.integers(0, limits.MAX_BUNDLE_BYTES),
            credit_bytes=credits_,
            reason=reasons,
            bundle_id=st.none() | ids,
            space_id=texts,
            variant=texts,
            labels=st.lists(labels, max_size=5).map(tuple),
        ),
        no_blob,
    ),
    "Problem": st.tuples(
        st.builds(
            p.Problem,
            code=st.sampled_from(sorted(p.PROBLEM_CODES)),
            detail=reasons,
            about=st.none() | ids,
            retry_after_s=durations,
        ),
        no_blob,
    ),
}


def code_of(frames):
    with pytest.raises(p.MessageError) as caught:
        p.decode(frames)
    assert caught.value.code in p.PROBLEM_CODES
    assert str(caught.value).isprintable()
    return caught.value.code


def header(kind="Heartbeat", **changes):
    message, blob = GOLDEN[kind]
    fields = message.model_dump() | changes
    return [msgpack.packb({key: value for key, value in fields.items() if value is not ...}), blob]


# --- round trip ---


@pytest.mark.parametrize("kind", p.KINDS)
@given(data=st.data())
def test_every_kind_survives_bytes(kind, data):
    message, blob = data.draw(STRATEGIES[kind])
    made = p.encode(message, blob)
    assert [type(frame) for frame in made] == [bytes, bytes]
    assert p.decode(made) == (message, blob)
    assert p.decode([memoryview(frame) for frame in made]) == (message, blob)


def test_unknown_fields_are_ignored_at_every_level():
    message, _ = GOLDEN["CaseOffer"]
    case = message.model_dump()["case"] | {"cloud_cover": 0.5}
    assert p.decode(header("CaseOffer", case=case, later=[1, {"x": None}]))[0] == message


def test_a_field_left_out_takes_its_default():
    message, _ = p.decode(header("Heartbeat", spool_cases=..., bank=...))
    assert (message.spool_cases, message.bank) == (0, None)


# --- what is refused ---


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"point_xy": (0.5, 0.5)}, id="box and point"),
        pytest.param({"action": "stop"}, id="stop with a box"),
        pytest.param({"action": "status"}, id="status with a box"),
        pytest.param({"box_xyxy": (0.5, 0.5, 1.5, 1)}, id="share beyond the frame"),
        pytest.param({"box_xyxy": (0.5, 0.5, float("nan"), 1)}, id="nan"),
        pytest.param({"box_xyxy": (0.5, 0.5, 0.25, 1)}, id="inside out"),
        pytest.param({"label": ""}, id="no label"),
        pytest.param({"target_key": "a b"}, id="key"),
    ],
)
def test_order_that_names_no_one_place_is_refused(changes):
    assert code_of(header("TrackTarget", **changes)) == "bad_value"


@pytest.mark.parametrize("count", [0, 1, 3])
def test_other_than_two_frames_is_malformed(count):
    assert code_of([b"x"] * count) == "malformed"


@pytest.mark.parametrize(
    "packed",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\xc1", id="reserved byte"),
        pytest.param(b"\x81", id="cut off"),
        pytest.param(msgpack.packb([1, 2]), id="array"),
        pytest.param(msgpack.packb({1: 2}), id="integer key"),
        pytest.param(msgpack.packb({"v": 1}), id="no kind"),
        pytest.param(msgpack.packb({"v": True, "kind": "Hello"}), id="v is a bool"),
        pytest.param(msgpack.packb({"v": 1, "kind": 5}), id="kind is a number"),
        pytest.param(msgpack.packb({"v": 1, "kind": "Hello", "x": msgpack.Timestamp(0)}), id="timestamp"),
        pytest.param(b"\x81\xa1\xff\x00", id="key is not UTF-8"),
        pytest.param(b"\x81\xa1v\xdd\xff\xff\xff\xff", id="array of four thousand million"),
        pytest.param(b"\x81\xa1v\xc6\xff\xff\xff\xff", id="bytes of four GiB"),
        pytest.param(b"\x81\xa1v" + b"\x91" * 40_000, id="nested deeply"),
        pytest.param(header()[0] + b"\x00", id="trailing byte"),
    ],
)
def test_headers_that_are_no_header_are_malformed(packed):
    assert code_of([packed, b""]) == "malformed"


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([bytes(limits.MAX_HEADER_BYTES + 1), b""], id="header"),
        pytest.param([header("CaseChunk")[0], bytes(limits.MAX_CHUNK_BYTES + 1)], id="blob"),
        pytest.param([header("CaseOffer")[0], bytes(GOLDEN["CaseOffer"][0].case.payload_bytes + 1)], id="offer"),
        pytest.param([header("PromptUpdate")[0], bytes(limits.CHUNK_BYTES + 1)], id="blob of an update"),
        pytest.param(header("CaseChunk", offset=limits.MAX_CASE_BYTES - 5), id="chunk over the case"),
        pytest.param(header("PromptUpdate", offset=990), id="slice over the update"),
    ],
)
def test_what_is_over_its_limit_is_too_large(frames):
    assert code_of(frames) == "too_large"


@pytest.mark.parametrize("version", [0, 2, -1, 2**63])
def test_other_versions_are_told_apart(version):
    assert code_of(header(v=version)) == "version"


@pytest.mark.parametrize("kind", [*p.RESERVED_KINDS, "Telemetry", "", "\x1b[2J" * 100, "Detection"])
def test_unknown_and_reserved_kinds(kind):
    assert code_of([msgpack.packb({"v": 1, "kind": kind}), b""]) == "unknown_kind"


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("Heartbeat", {"seq": -1}),
        ("Heartbeat", {"seq": ...}),
        ("Heartbeat", {"wall_time_s": float("nan")}),
        ("Heartbeat", {"bank": {"epoch": "e"}}),
        ("CaseChunk", {"case_id": "../../etc/passwd"}),
        ("PromptReceipt", {"applied": "yes"}),
        ("Problem", {"detail": "x" * 201}),
        ("Problem", {"code": "No Code"}),
        ("Hello", {"kinds": ["A"] * 65}),
        ("BundleOffer", {"archive_bytes": limits.MAX_BUNDLE_BYTES + 1}),
        ("BundleOffer", {"metadata_bytes": limits.MAX_BUNDLE_METADATA_BYTES + 1}),
        ("BundleChunk", {"part": "../root"}),
        ("CaseOffer", {"case": {}}),
    ],
)
def test_fields_out_of_bounds_are_bad_values(kind, changes):
    assert code_of(header(kind, **changes)) == "bad_value"


def test_error_text_does_not_repeat_the_input():
    with pytest.raises(p.MessageError) as caught:
        p.decode(header("Hello", craft_software="secret" * 100))
    assert "secret" not in str(caught.value)
    assert "craft_software" in str(caught.value)


@pytest.mark.parametrize("kind", [kind for kind in p.KINDS if kind != "CaseOffer"])
def test_blob_belongs_to_chunks_and_updates_alone(kind):
    message, blob = GOLDEN[kind]
    wrong = b"" if blob else b"x"
    assert code_of([p.encode(message, blob)[0], wrong]) == "bad_blob"
    with pytest.raises(p.MessageError) as caught:
        p.encode(message, wrong)
    assert caught.value.code == "bad_blob"


def test_encode_refuses_a_header_no_peer_would_take():
    label = "\U0001f6f0" * 64  # 64 characters of four bytes
    crowd = (p.Detection(box_xyxy=(0, 0, 1, 1), label=label, score=1),) * limits.MAX_CASE_DETECTIONS
    with pytest.raises(p.MessageError) as caught:
        p.encode(p.CaseOffer(case=MAKE["case"]().model_copy(update={"detections": crowd})))
    assert caught.value.code == "too_large"


def test_a_case_with_the_most_worst_ascii_detections_fits():
    worst = p.Detection(
        box_xyxy=(-1e6, -1e6, 1e6, 1e6),
        label="x" * 64,
        score=0.1,
        provenance="prompt:" + "y" * 64,
        track_id=2**53,
    )
    case = MAKE["case"]().model_copy(
        update={
            "detections": (worst,) * limits.MAX_CASE_DETECTIONS,
            "reasons": {f"{i:064}": 0.1 for i in range(limits.MAX_REASONS)},
        }
    )
    assert p.decode(p.encode(p.CaseOffer(case=case)))[0].case == case


# --- fuzz ---


@given(st.lists(st.binary(max_size=200), max_size=3))
def test_random_bytes_raise_message_errors_alone(frames):
    code_of(frames)


json_like = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=12,
)


@given(st.sampled_from(p.KINDS), st.data())
def test_fields_of_any_type_decode_or_raise_message_errors(kind, data):
    fields = GOLDEN[kind][0].model_dump()
    path = fields
    while True:
        key = data.draw(st.sampled_from(sorted(path)))
        if not isinstance(path[key], dict) or not path[key] or data.draw(st.booleans()):
            break
        path = path[key]
    path[key] = data.draw(json_like)
    decode_or_refuse([msgpack.packb(fields), GOLDEN[kind][1]])


@given(st.sampled_from(p.KINDS), st.integers(0, 10**6), st.binary(min_size=0, max_size=4), st.integers(0, 4))
def test_mutated_bytes_decode_or_raise_message_errors(kind, at, new, cut):
    packed, blob = p.encode(*GOLDEN[kind])
    at %= len(packed)
    decode_or_refuse([packed[:at] + new + packed[at + cut :], blob])


@given(st.integers(0, 10**6), st.binary(min_size=0, max_size=4), st.integers(0, 4))
def test_mutated_bank_changes_unpack_or_raise_message_errors(at, new, cut):
    packed = p.pack_change(p.diff_banks(None, MAKE["bank"]()))
    at %= len(packed)
    with contextlib.suppress(p.MessageError):
        change = p.unpack_change(packed[:at] + new + packed[at + cut :])
        p.apply_change(p.PromptBank.empty("e"), change)


def decode_or_refuse(frames):
    try:
        message, blob = p.decode(frames)
    except p.MessageError as error:
        answer = p.Problem.from_error(error)
        code_of_answer = p.decode(p.encode(answer))[0].code
        assert code_of_answer in p.PROBLEM_CODES
    else:
        assert p.decode(p.encode(message, blob)) == (message, blob)


# --- bank changes and slices ---


def test_bank_change_over_the_cap_is_refused_unread():
    with pytest.raises(p.MessageError) as caught:
        p.unpack_change(bytes(limits.MAX_UPDATE_BYTES + 1))
    assert caught.value.code == "too_large"


PAYLOAD = bytes(range(256)) * 300
DIGEST = hashlib.sha256(PAYLOAD).hexdigest()


def collector(held=b"", sha256=DIGEST):
    return p.Reassembly(len(PAYLOAD), sha256, cap_bytes=limits.MAX_CASE_BYTES, held=held)


@given(st.integers(50, 40_000), st.integers(0, len(PAYLOAD)))
def test_slices_come_together_from_any_resume_point(size, start):
    collecting = collector(held=PAYLOAD[:start])
    for offset, blob in p.slices(PAYLOAD, start, size):
        assert not collecting.is_complete
        assert collecting.add(offset, blob) == offset + len(blob)
    assert collecting.finish() == PAYLOAD


def test_slices_are_chunks_by_default():
    assert {len(blob) for _, blob in p.slices(PAYLOAD)} == {
        limits.CHUNK_BYTES,
        len(PAYLOAD) % limits.CHUNK_BYTES,
    }


def test_repeated_and_overlapping_slices_are_harmless():
    collecting = collector()
    collecting.add(0, PAYLOAD[:1000])
    assert collecting.add(0, PAYLOAD[:1000]) == 1000
    assert collecting.add(200, PAYLOAD[200:300]) == 1000
    assert collecting.add(900, PAYLOAD[900:]) == len(PAYLOAD)
    assert collecting.finish() == PAYLOAD


@pytest.mark.parametrize(
    ("offset", "blob", "code"),
    [(11, b"x", "gap"), (10, PAYLOAD, "too_large"), (-1, b"x", "bad_value")],
)
def test_slice_that_does_not_fit_is_refused_and_not_taken(offset, blob, code):
    collecting = collector(held=PAYLOAD[:10])
    with pytest.raises(p.MessageError) as caught:
        collecting.add(offset, blob)
    assert (caught.value.code, collecting.next_offset) == (code, 10)


def test_wrong_digest_drops_everything():
    collecting = collector(held=PAYLOAD, sha256="0" * 64)
    with pytest.raises(p.MessageError) as caught:
        collecting.finish()
    assert (caught.value.code, collecting.next_offset) == ("bad_digest", 0)


def test_finish_before_the_end_is_a_gap():
    with pytest.raises(p.MessageError) as caught:
        collector(held=b"\0").finish()
    assert caught.value.code == "gap"


@pytest.mark.parametrize(
    ("total", "held", "code"), [(101, b"", "too_large"), (5, b"123456", "too_large"), (0, b"", "bad_value")]
)
def test_announced_size_is_checked_first(total, held, code):
    with pytest.raises(p.MessageError) as caught:
        p.Reassembly(total, DIGEST, cap_bytes=100, held=held)
    assert caught.value.code == code


@pytest.mark.parametrize("quality", [0, 101, -5, 10**9])
def test_absurd_quality_is_refused(quality):
    assert code_of(header("RefineRequest", quality=quality)) == "bad_value"
