"""Worlds, flights and scenarios that run the real edge and cloud, and what they score.

Reading order: `cli.py` (the commands), `scenario/` (what a scenario file says), `runner.py` and `flying.py` (any
scenario from end to end), `scene_plan.py`, `scenes.py`, `dataset.py`, `tracks.py` (what is rendered; `world/`, `craft/`
say how), `crew.py`, `legs.py`, `hurry.py`, `processes.py` and `watch.py` (the real programs, started and looked at),
`link.py`, `link_schedule.py`, `relay.py`, `delay_line.py`, `fates.py`, `link_profiles.py` and `leo_pass.py` (the link
between them), `netem.py` (the same by the kernel), `operator.py` and `scripted_answers.py` (the person),
`timetable.py` and `event_log.py` (what happens when), `live.py`; `run_story.py`, `recall_curves.py`, `power_curve.py`,
`ground_map.py`, `run_figures.py` and `run_report.py` (how a run is told), `compare.py` (two runs side by side); then
`demo.py` (the loop, measured), `record.py`, `score.py` and `reference.py` (what came of it), `report.py` and
`figures.py` (how it is told), `bench.py`, `bench_render.py`; `bench_link.py` with `link_recovery.py`, `frame_age.py`,
`link_throughput.py` and `many_edges_bench.py` (what the link reaches).
Apart from all that, `mission/` and `mission_cli.py`: a fleet for days, without imagery and on a virtual clock.
"""

from __future__ import annotations

from sim.dataset import render_sequence, render_training_set
from sim.errors import LoopOpenError, OutputError, ProcessError, RecordError, ScenarioError, SimError
from sim.scene_plan import disaster_scene, scenes_of
from sim.scenes import Scene, training_scene

__all__ = [
    "LoopOpenError",
    "OutputError",
    "ProcessError",
    "RecordError",
    "ScenarioError",
    "Scene",
    "SimError",
    "disaster_scene",
    "render_sequence",
    "render_training_set",
    "scenes_of",
    "training_scene",
]
