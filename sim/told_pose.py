"""The pose that a craft is told: late and a little wrong, as from a real autopilot."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from sim.craft.camera import CameraPose
from sim.dataset import pose_record
from sim.scenario.flights import PoseErrors
from sim.scenes import Scene


def spoil_poses(sidecar: Path, scene: Scene, errors: PoseErrors, rng: np.random.Generator) -> None:
    """Replace the poses of a rendered flight by told ones; the true one stays as `true_pose`.

    Args:
        sidecar: `frames.jsonl` of the flight.
        scene: that was rendered.
        errors: how wrong the poses are; without any the file stays as it is.
        rng: draws the noise.
    """
    if not (errors.pose_noise_m or errors.pose_noise_deg or errors.pose_latency_ms):
        return
    records = [json.loads(line) for line in sidecar.read_text().splitlines()]
    for record in records:
        pose = scene.flight.pose_at(record["time_s"] - errors.pose_latency_ms / 1000)
        record["true_pose"], record["pose"] = record["pose"], pose_record(scene, told_pose(pose, errors, rng))
    sidecar.write_text("".join(json.dumps(record) + "\n" for record in records))


def told_pose(pose: CameraPose, errors: PoseErrors, rng: np.random.Generator) -> CameraPose:
    """A pose with normal noise on each number."""
    east, north, up = errors.pose_noise_m * rng.normal(size=3)
    yaw, pitch, roll = errors.pose_noise_deg * rng.normal(size=3)
    return replace(
        pose,
        east_m=pose.east_m + float(east),
        north_m=pose.north_m + float(north),
        up_m=max(pose.up_m + float(up), 0.1),
        yaw_deg=pose.yaw_deg + float(yaw),
        pitch_deg=max(pose.pitch_deg + float(pitch), -90.0),
        roll_deg=math.remainder(pose.roll_deg + float(roll), 360.0),
    )
