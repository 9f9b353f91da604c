"""Writes the golden bytes of wire v1: one file per kind, from fixed values.

Run `python tests/protocols/golden/make.py` after adding an example. A file that is there and differs is an
error: bytes of a released version never change.

A message file holds two frames, each a little-endian uint32 length and then that many bytes.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np

import protocols as p

FOLDER = Path(__file__).parent / "v1"
READ_ALONE = ("_bank_change.bin",)
"""Written before prompts had `direction_cases` and chips a `vector`: read for ever, written with more fields now."""

FIRST_KINDS = (
    "Hello",
    "Welcome",
    "Heartbeat",
    "CaseOffer",
    "CaseChunk",
    "CaseReceipt",
    "Interpretation",
    "InterpretationReceipt",
    "PromptUpdate",
    "PromptReceipt",
    "Problem",
)
"""What Hello and Welcome listed when their bytes were written."""

CASE_ID = "0123456789abcdef0123456789abcdef"
SHA = "ab" * 32


def prompt(prompt_id: str = "p-1") -> p.Prompt:
    """A prompt with every field set; its JPEG is a stand-in, as encoders differ in their bytes."""
    vectors = np.arange(1, 9, dtype=np.float32).reshape(2, 4) / 8
    return p.Prompt(
        prompt_id=prompt_id,
        label="wind turbine",
        space_id="5pace",
        variant="u8s8",
        positives=p.Vectors.from_array(vectors),
        negatives=p.Vectors.from_array(-vectors[:1]),
        threshold=0.625,
        temperature=0.0703125,
        size_px=(8, 96.5),
        size_m=(20, 150),
        chips=(p.Chip(jpeg=b"\xff\xd8chip\xff\xd9", box_xyxy=(16, 16, 48, 40), scale=0.5),),
        scope="mission",
        priority=2,
        issued_at_s=1_750_000_000.25,
        expires_at_s=1_750_086_400,
        origin="person",
        confidence=0.875,
        case_id=CASE_ID,
    )


def bank() -> p.PromptBank:
    """A bank of one full prompt and one bare one."""
    bare = prompt("a.bare").model_copy(
        update={"size_px": None, "size_m": None, "chips": (), "expires_at_s": None, "case_id": None}
    )
    return p.PromptBank(epoch="epoch-1", revision=7, prompts=(prompt(), bare))


def later_bank() -> p.PromptBank:
    """A bank with the fields that came within v1: a direction, and a chip with its vector."""
    vectors = np.arange(1, 5, dtype=np.float32).reshape(1, 4) / 4
    one, none = p.Vectors.from_array(vectors), p.Vectors.from_array(vectors[:0])
    (chip,) = prompt().chips
    fields = {"positives": one, "negatives": none, "direction_cases": 3}
    later = prompt("later").model_copy(update=fields | {"chips": (chip.model_copy(update={"vector": one}),)})
    return p.PromptBank(epoch="epoch-1", revision=8, prompts=(later,))


def case() -> p.Case:
    """A case with every field set."""
    pose = p.Pose(lat_deg=48.5, lon_deg=-9.25, altitude_m=120, yaw_deg=270, pitch_deg=-90, roll_deg=1.5, gsd_m=0.03125)
    frame = p.FrameHeader(index=41, source_id="cam0", captured_at_s=1_750_000_000.5, width=1920, height=1080, pose=pose)
    return p.Case(
        case_id=CASE_ID,
        frame=frame,
        region_xyxy=(640, 256, 896, 512),
        image_scale=1,
        detections=(p.Detection(box_xyxy=(650.5, 300, 700, 340.25), label="car", score=0.5, track_id=3),),
        reasons={"unexplained": 0.75, "doubt": 0.125, "flicker": 0},
        hardness=0.75,
        space_id="5pace",
        variant="fp32",
        media_type="image/jpeg",
        payload_bytes=40_000,
        payload_sha256=SHA,
        ttl_s=600,
    )


def interpretation() -> p.Interpretation:
    """An interpretation with one outlined and one plain detection."""
    return p.Interpretation(
        case_id=CASE_ID,
        detections=(
            p.Detection(box_xyxy=(650, 300, 702, 342), label="wind turbine", score=0.75, provenance="cloud"),
            p.Detection(box_xyxy=(700, 310, 720, 330), label="風車", score=1, provenance="person"),
        ),
        polygons=((650, 300, 702, 300, 676, 342), ()),
        confidence=0.5,
        by="teacher",
        interpreter="rsfm-large",
        made_at_s=1_750_000_010,
    )


def target_case() -> p.Case:
    """A case that asks about a target, a field that came within v1."""
    chips = (p.Chip(jpeg=b"\xff\xd8first\xff\xd9", box_xyxy=(8, 8, 24, 20), scale=0.5),)
    question = p.TargetQuestion(
        target_id=3, label="car", box_xyxy=(650.5, 300, 700, 340.25), presence=0.25, why="presence", chips=chips
    )
    return case().model_copy(update={"target": question})


def parts_case() -> p.Case:
    """A case with a second picture, a field that came within v1."""
    part = p.CasePart(region_xyxy=(1280, 640, 1600, 960), image_scale=0.5, payload_bytes=12_000)
    return case().model_copy(update={"further": (part,)})


def refined_case() -> p.Case:
    """A case that shows another's frame again, fields that came within v1."""
    return case().model_copy(update={"case_id": "ef" * 16, "refines": CASE_ID, "quality": 90})


def refined_interpretation() -> p.Interpretation:
    """The answer to it."""
    return interpretation().model_copy(update={"case_id": "ef" * 16, "supersedes": CASE_ID})


def target_interpretation() -> p.Interpretation:
    """The answer to it, with vectors."""
    vectors = np.arange(1, 9, dtype=np.float32).reshape(2, 4) / 8
    answer = p.TargetAnswer(
        target_id=3,
        verdict="here",
        box_xyxy=(652, 301, 702, 342),
        space_id="5pace",
        variant="fp32",
        positives=p.Vectors.from_array(vectors),
        negatives=p.Vectors.from_array(-vectors),
    )
    return interpretation().model_copy(update={"target": answer})


def messages() -> dict[str, tuple[p.AnyMessage, bytes]]:
    """One (message, blob) of every kind."""
    ref = bank().ref
    all_messages: list[tuple[p.AnyMessage, bytes]] = [
        (
            p.Hello(
                craft_software="skyloop 1.0",
                boot_id="boot-1",
                session_id="session-1",
                kinds=FIRST_KINDS,
                space_id="5pace",
                variant="u8s8",
                labels=("car", "truck"),
                bank=p.PromptBank.empty("epoch-1").ref,
                wall_time_s=1_750_000_000,
                wants_credit_bytes=65536,
            ),
            b"",
        ),
        (
            p.Welcome(
                server_software="skyloop 1.0",
                session_id="session-1",
                kinds=FIRST_KINDS,
                credit_bytes=65536,
                heartbeat_s=2,
                wall_time_s=1_750_000_001.5,
                bank=ref,
            ),
            b"",
        ),
        (p.Heartbeat(seq=5, wall_time_s=1_750_000_002, spool_cases=2, spool_bytes=80_000, bank=ref), b""),
        (p.CaseOffer(case=case()), b""),
        (p.CaseChunk(case_id=CASE_ID, offset=16384), bytes(range(32))),
        (
            p.CaseReceipt(case_id=CASE_ID, payload_sha256=SHA, state="partial", next_offset=16416, credit_bytes=65536),
            b"",
        ),
        (p.InterpretationMessage(interpretation=interpretation()), b""),
        (p.InterpretationReceipt(case_id=CASE_ID), b""),
        (
            p.PromptUpdate(update_id="update-1", target=ref, total_bytes=1000, offset=0, sha256=SHA),
            bytes(range(32)),
        ),
        (p.PromptReceipt(update_id="update-1", bank=ref, applied=True), b""),
        (
            p.Problem(code="busy", detail="64 cases wait; at most 64", about=CASE_ID, retry_after_s=2.5),
            b"",
        ),
        (
            p.TrackTarget(
                target_key="target-1",
                action="start",
                label="car",
                box_xyxy=(0.25, 0.5, 0.375, 0.625),
                is_normalised=True,
                seen_in=p.FrameRef(source_id="cam0", index=41, captured_at_s=1_750_000_000.5, case_id=CASE_ID),
                ttl_s=60,
            ),
            b"",
        ),
        (
            p.TargetStatus(
                target_key="target-1",
                state="lost",
                reason="presence under 0.3 for 3 frames",
                target_id=2,
                box_xyxy=(650.5, 300, 700, 340.25),
                presence=0.25,
                frame_index=99,
                captured_at_s=1_750_000_002.5,
            ),
            b"",
        ),
        (
            p.RefineRequest(request_id="request-1", case_id=CASE_ID, region_xyxy=(512, 128, 1024, 640), quality=95),
            b"",
        ),
        (
            p.BundleOffer(
                offer_id="rollout-1",
                bundle_id="student-7",
                metadata_bytes=6_000,
                metadata_sha256="cd" * 32,
                archive_bytes=3_000_000,
                archive_sha256=SHA,
            ),
            b"",
        ),
        (p.BundleChunk(offer_id="rollout-1", part="archive", offset=16384), bytes(range(32))),
        (
            p.BundleReceipt(
                offer_id="rollout-1",
                state="fetching",
                part="archive",
                next_offset=16416,
                credit_bytes=8192,
                bundle_id="student-6",
                space_id="5pace",
                variant="u8s8",
                labels=("car", "truck"),
            ),
            b"",
        ),
    ]
    return {message.kind: (message, blob) for message, blob in all_messages}


def join(frames: list[bytes]) -> bytes:
    """The two frames of a message as one file."""
    return b"".join(struct.pack("<I", len(frame)) + frame for frame in frames)


def split(data: bytes) -> list[bytes]:
    """The frames in a file."""
    frames = []
    while data:
        (size,) = struct.unpack_from("<I", data)
        frames.append(data[4 : 4 + size])
        data = data[4 + size :]
    return frames


def later_welcome() -> p.Welcome:
    """With the fields that came within v1."""
    welcome = messages()["Welcome"][0]
    assert isinstance(welcome, p.Welcome)
    return welcome.model_copy(update={"chunk_bytes": 131072, "open_cases": 32})


def later_hello() -> p.Hello:
    """With the field that came within v1."""
    hello = messages()["Hello"][0]
    assert isinstance(hello, p.Hello)
    return hello.model_copy(update={"bundle_id": "student-6"})


def files() -> dict[str, bytes]:
    """Every golden file by name."""
    made = {f"{kind}.bin": join(p.encode(message, blob)) for kind, (message, blob) in messages().items()}
    made["_canonical_prompts.bin"] = p.canonical_prompts(bank().prompts)
    made["_bank_change.bin"] = p.pack_change(p.diff_banks(p.PromptBank.empty("epoch-1"), bank()))
    made["_later_bank_change.bin"] = p.pack_change(p.diff_banks(None, later_bank()))
    made["_target_case.bin"] = join(p.encode(p.CaseOffer(case=target_case())))
    made["_parts_case.bin"] = join(p.encode(p.CaseOffer(case=parts_case())))
    made["_refined_case.bin"] = join(p.encode(p.CaseOffer(case=refined_case())))
    refined = p.InterpretationMessage(interpretation=refined_interpretation())
    made["_refined_interpretation.bin"] = join(p.encode(refined))
    made["_target_interpretation.bin"] = join(p.encode(p.InterpretationMessage(interpretation=target_interpretation())))
    made["_later_welcome.bin"] = join(p.encode(later_welcome()))
    made["_later_hello.bin"] = join(p.encode(later_hello()))
    made["_later_case_offer.bin"] = join(p.encode(p.CaseOffer(case=case()), bytes(range(32))))
    raw = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4) - 5
    made["_image.raw"] = p.encode_image(raw, "application/x-skyloop-raw")
    return made


def main() -> None:
    """Write the files that are not there yet."""
    FOLDER.mkdir(exist_ok=True)
    for name, data in files().items():
        path = FOLDER / name
        if name in READ_ALONE:
            continue
        if path.exists() and path.read_bytes() != data:
            sys.exit(f"{path} is there and differs: bytes of a released version never change")
        path.write_bytes(data)


if __name__ == "__main__":
    main()
