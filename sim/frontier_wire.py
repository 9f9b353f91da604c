"""What asking about one image costs on the wire: every message of its case, encoded as the link encodes it.

Both directions count: the offer with the first bytes, chunks, receipts, the answer and its receipt. What belongs to no
case is left out: greetings and heartbeats, and what ZeroMQ and CURVE put around each message (about 35 bytes).
"""

from __future__ import annotations

from hashlib import sha256

import numpy as np

from distill.evaluate import ImageDetections
from protocols.fields import MediaType
from protocols.limits import CHUNK_BYTES
from protocols.messages import (
    AnyMessage,
    CaseChunk,
    CaseOffer,
    CaseReceipt,
    InterpretationMessage,
    InterpretationReceipt,
    encode,
)
from protocols.values import Case, Detection, FrameHeader, Interpretation, best_detections, new_case_id

_CREDIT_BYTES = 4 * CHUNK_BYTES
_SPACE_ID = 32 * "0"
_AT_S = 1.8e9
"""Any time will do: a double is as long as any other."""


def case_bytes(payload: bytes, media_type: MediaType, edge: ImageDetections | None, answer: ImageDetections) -> int:
    """Bytes of one case about a whole frame of 640 x 512 px, from its offer to the receipt of its answer.

    Args:
        payload: the encoded image.
        media_type: of it.
        edge: the craft's own detections, told with the case; None where no student flies.
        answer: what the cloud says.
    """
    case = _case(payload, media_type, edge)
    taken = CaseReceipt(
        case_id=case.case_id,
        payload_sha256=case.payload_sha256,
        state="partial",
        next_offset=min(len(payload), CHUNK_BYTES),
        credit_bytes=_CREDIT_BYTES,
    )
    stored = taken.model_copy(update={"state": "stored", "next_offset": len(payload)})
    answered = best_detections(_detections(answer, "cloud"))
    interpretation = Interpretation(
        case_id=case.case_id,
        detections=answered,
        confidence=answered[0].score if answered else 0.0,
        by="teacher",
        interpreter="teacher/fp32",
        made_at_s=_AT_S,
    )
    messages: list[tuple[AnyMessage, bytes]] = [
        (CaseOffer(case=case), payload[:CHUNK_BYTES]),
        *([(taken, b"")] if len(payload) > CHUNK_BYTES else []),
        *(
            (CaseChunk(case_id=case.case_id, offset=start), payload[start : start + CHUNK_BYTES])
            for start in range(CHUNK_BYTES, len(payload), CHUNK_BYTES)
        ),
        (stored, b""),
        (InterpretationMessage(interpretation=interpretation), b""),
        (InterpretationReceipt(case_id=case.case_id), b""),
    ]
    return sum(len(frame) for message, blob in messages for frame in encode(message, blob))


def _case(payload: bytes, media_type: MediaType, edge: ImageDetections | None) -> Case:
    return Case(
        case_id=new_case_id(),
        frame=FrameHeader(index=1000, source_id="/dev/video0", captured_at_s=_AT_S, width=640, height=512, bands=1),
        region_xyxy=(0, 0, 640, 512),
        detections=best_detections(_detections(edge, "edge")) if edge is not None else (),
        reasons={"unexplained": 0.5, "doubt": 0.5, "flicker": 0.5} if edge is not None else {},
        hardness=0.5,
        space_id=_SPACE_ID,
        variant="u8s8",
        media_type=media_type,
        payload_bytes=len(payload),
        payload_sha256=sha256(payload).hexdigest(),
        ttl_s=3600.0,
    )


def _detections(found: ImageDetections, provenance: str) -> list[Detection]:
    rows = zip(found.boxes_xyxy.tolist(), found.labels, np.asarray(found.scores).tolist(), strict=True)
    return [
        Detection(box_xyxy=tuple(box), label=label, score=min(score, 1.0), provenance=provenance)
        for box, label, score in rows
    ]
