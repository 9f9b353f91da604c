"""What each capture of a craft shows, drawn beforehand from its own seeded stream.

A capture is strange with probability `strange_share`. A strange one shows one of `kinds` kinds, the k-th of which is
drawn with a probability proportional to 1/k (Zipf's law: a few kinds are common, most are rare), and its hardness is
drawn from a Beta distribution, by default (6, 2) with mean 0.75. Any other has a hardness from Beta (1.5, 10), mean
0.13. Once the craft holds a prompt for a kind, captures of that kind count as plain: a second, plain hardness is drawn
for each. Imagery is log-normal around the camera's `case_bytes`, cut at the protocol's limit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.limits import MAX_CASE_BYTES
from sim.mission.settings import CameraSettings, CloudSettings, SceneSettings
from sim.world.seeds import rng_for

PLAIN = -1
"""The kind of a capture that shows nothing strange."""

_LEAST_CASE_BYTES = 512


@dataclass(frozen=True)
class Captures:
    """Everything random about the captures of one craft; index i is its i-th tick.

    Lists, not arrays: they are read one at a time, and only once.

    Attributes:
        kind: the strange kind, or `PLAIN`.
        hardness: as the student sees it without a prompt for the kind.
        explained_hardness: with one.
        payload_bytes: imagery, should it become a case.
        answer_s: seconds the cloud takes, should it become one.
        is_person: whether a person looks at it.
        gives_prompt: whether the answer to a strange kind is a prompt.
    """

    kind: list[int]
    hardness: list[float]
    explained_hardness: list[float]
    payload_bytes: list[int]
    answer_s: list[float]
    is_person: list[bool]
    gives_prompt: list[bool]


def draw_captures(
    count: int, keys: tuple[int, int], scene: SceneSettings, camera: CameraSettings, cloud: CloudSettings
) -> Captures:
    """The captures of one craft.

    Args:
        count: how many.
        keys: the mission's seed and the craft's index: every craft has a stream of its own.
        scene: how often something strange is seen, and how hard it is.
        camera: how large a case is.
        cloud: how long an answer takes.
    """
    rng = rng_for("mission-captures", *keys)
    is_strange = rng.random(count) < scene.strange_share
    plain = rng.beta(*scene.plain_hardness, size=count)
    strange = rng.beta(*scene.strange_hardness, size=count)
    payload = camera.case_bytes * np.exp(camera.case_spread * rng.standard_normal(count))
    is_person = rng.random(count) < cloud.person_share
    person_s = rng.uniform(*cloud.person_s, size=count)
    return Captures(
        kind=np.where(is_strange, _draw_kinds(rng, count, scene.kinds), PLAIN).tolist(),
        hardness=np.where(is_strange, strange, plain).tolist(),
        explained_hardness=plain.tolist(),
        payload_bytes=np.clip(payload, _LEAST_CASE_BYTES, MAX_CASE_BYTES).astype(np.int64).tolist(),
        answer_s=(rng.uniform(*cloud.teacher_s, size=count) + np.where(is_person, person_s, 0.0)).tolist(),
        is_person=is_person.tolist(),
        gives_prompt=(rng.random(count) < cloud.prompt_share).tolist(),
    )


def _draw_kinds(rng: np.random.Generator, count: int, kinds: int) -> NDArray[np.int64]:
    weights = 1.0 / np.arange(1, kinds + 1)
    return rng.choice(kinds, size=count, p=weights / weights.sum())
