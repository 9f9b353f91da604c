"""A run of one craft made up by hand, around the made-up flight of `conftest.py`."""

from sim.craft.camera import CameraPose
from sim.operator import Given
from sim.run_report import craft_measures
from sim.run_story import CraftStory
from sim.scenario import Scenario

NAME = "uav"


def scenario(**values) -> Scenario:
    """Six seconds with an earthquake, fog, a fault and a link cut."""
    craft = {
        "name": NAME,
        "camera": {"width": 160, "height": 128, "focal_px": 200},
        "flight": {"kind": "along-roads"},
    }
    base = {
        "name": "made-up",
        "seconds": 6,
        "fps": 10,
        "craft": [craft],
        "event": [{"kind": "earthquake", "at_s": 1}, {"kind": "fog", "at_s": 2, "over_s": 3, "haze": 0.5}],
        "fault": [{"kind": "link-cut", "at_s": 4, "for_s": 1}],
    }
    return Scenario.model_validate({**base, **values})


def story(record) -> CraftStory:
    """The craft flies north at 50 m, looking straight down."""
    poses = {frame.index: CameraPose(0.0, 8 * frame.time_s, 50.0) for frame in record.frames}
    answers = [(2.5, Given("0" * 31 + "1", NAME, "Debris", 2, True, 5.0, "done"))]
    return CraftStory(NAME, scenario(), record, poses, answers)


def run_json(told: CraftStory) -> dict:
    """What `run.json` would say."""
    row = {
        "frames": 60, "fps": 10.0, "starts": 1, "cases": {}, "cases_sent": 1, "connects": 1,
        "bytes_on_the_wire": {"edge_to_cloud": 41_000, "cloud_to_edge": 9_000}, "prompts_applied": 1,
        "labels_learned": told.learned, "loop_ms": {"count": 1, "p50": 612.0, "p99": None}, "banks": [],
        "traffic": [[item.time_s, item.edge_to_cloud, item.cloud_to_edge] for item in told.record.traffic],
    }  # fmt: skip
    return {
        "scenario": "made-up", "seed": 4, "command": "skyloop-sim run made-up", "events_sha256": "ab" * 32,
        "seconds": 6.0,
        "craft": {told.name: {**row, **craft_measures(told)}}, "operator": None, "versions": {"skyloop": "0.1.0"},
        "settings": told.scenario.model_dump(mode="json"), "wall_s": 12.3, "speed": 1.0,
    }  # fmt: skip
