"""The words edge and cloud exchange: value types, messages, image payloads, limits.

Reading order: `values.py` and `prompts.py` (what is said), `messages.py` (how it travels, and the one border where
bytes from a peer become checked values), `imagery.py` (image payloads), `limits.py` (every bound with its reason).
Beside them `target_messages.py` and `bundle_messages.py` (messages that came later), `fields.py`, `vectors.py`,
`chips.py` and `target_questions.py` (what values are made of), `reassembly.py` (slices), `errors.py`, `arrays.py` and
`boxes.py`. `README.md` describes the wire for other implementations.
"""

from __future__ import annotations

from protocols.arrays import AnyImage, Boxes, FloatArray, ImageArray
from protocols.boxes import box_inside, box_iou, boxes_area, clip_boxes, nms
from protocols.chips import Chip
from protocols.errors import ImageryError, MessageError, ShapeError, SkyloopError
from protocols.fields import MediaType, Message, Value
from protocols.imagery import decode_image, encode_image, image_size
from protocols.messages import (
    KINDS,
    PROBLEM_CODES,
    RESERVED_KINDS,
    AnyMessage,
    BundleChunk,
    BundleOffer,
    BundleReceipt,
    CaseChunk,
    CaseOffer,
    CaseReceipt,
    Heartbeat,
    Hello,
    InterpretationMessage,
    InterpretationReceipt,
    Problem,
    PromptReceipt,
    PromptUpdate,
    RefineRequest,
    TargetStatus,
    TrackTarget,
    Welcome,
    decode,
    encode,
    pack_change,
    unpack_change,
)
from protocols.prompts import (
    BankChange,
    BankRef,
    Prompt,
    PromptBank,
    apply_change,
    bank_bytes,
    canonical_prompts,
    diff_banks,
)
from protocols.reassembly import Reassembly, slices
from protocols.target_questions import TargetAnswer, TargetQuestion
from protocols.values import (
    Case,
    CasePart,
    Detection,
    FrameHeader,
    FrameRef,
    Interpretation,
    Pose,
    best_detections,
    check_region,
    new_case_id,
)
from protocols.vectors import Vectors

__all__ = [
    "KINDS",
    "PROBLEM_CODES",
    "RESERVED_KINDS",
    "AnyImage",
    "AnyMessage",
    "BankChange",
    "BankRef",
    "Boxes",
    "BundleChunk",
    "BundleOffer",
    "BundleReceipt",
    "Case",
    "CaseChunk",
    "CaseOffer",
    "CasePart",
    "CaseReceipt",
    "Chip",
    "Detection",
    "FloatArray",
    "FrameHeader",
    "FrameRef",
    "Heartbeat",
    "Hello",
    "ImageArray",
    "ImageryError",
    "Interpretation",
    "InterpretationMessage",
    "InterpretationReceipt",
    "MediaType",
    "Message",
    "MessageError",
    "Pose",
    "Problem",
    "Prompt",
    "PromptBank",
    "PromptReceipt",
    "PromptUpdate",
    "Reassembly",
    "RefineRequest",
    "ShapeError",
    "SkyloopError",
    "TargetAnswer",
    "TargetQuestion",
    "TargetStatus",
    "TrackTarget",
    "Value",
    "Vectors",
    "Welcome",
    "apply_change",
    "bank_bytes",
    "best_detections",
    "box_inside",
    "box_iou",
    "boxes_area",
    "canonical_prompts",
    "check_region",
    "clip_boxes",
    "decode",
    "decode_image",
    "diff_banks",
    "encode",
    "encode_image",
    "image_size",
    "new_case_id",
    "nms",
    "pack_change",
    "slices",
    "unpack_change",
]
