"""How far craft and teacher say the same of a case: the measure that the craft's own audit has, seen from the cloud.

The symmetric F1 of both answers (`edge.audit.agreement_of`): where there is no count of what both leave out, as of
objects in pictures, it is what kappa tends to (Hripcsak and Rothschild, JAMIA 12(3), 2005, 296-298). Hard cases are
chosen for being doubtful, so their mean says little of all frames; that of audited cases, a random share, does.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

from cloud.case_images import LEAST_SHOWN
from edge.audit import agreement_of
from protocols.boxes import box_inside
from protocols.values import Case, Interpretation

Sample: TypeAlias = Literal["audit", "hard"]


def sample_of(case: Case) -> Sample:
    """Whether a case was drawn at random, or for being hard."""
    return "audit" if "audit" in case.reasons else "hard"


def case_agreement(case: Case, answer: Interpretation) -> float:
    """0 to 1, of what the craft found in the parts of the frame that it sent, and the teacher there.

    Labels that the craft does not know count against it: that is what it asks for.
    """
    regions = np.asarray([part.region_xyxy for part in case.parts], np.float32)
    own = np.asarray([found.box_xyxy for found in case.detections], np.float32).reshape(-1, 4)
    shown = np.atleast_1d((box_inside(own, regions) >= LEAST_SHOWN).any(axis=1))
    return agreement_of(
        [found for found, is_in in zip(case.detections, shown, strict=True) if is_in], answer.detections
    )
