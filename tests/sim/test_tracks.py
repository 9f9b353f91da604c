import json

import numpy as np
import pytest

from edge.capture import open_source
from sim.craft.camera import Camera
from sim.craft.flight import Flight, FlightStyle
from sim.scenes import Scene
from sim.tracks import _Target, render_tracks
from sim.world import Look, Sun, World, rng_for
from sim.world.buildings import BuildingSize, building
from sim.world.catalogue import KINDS
from sim.world.layout import Label, Thing
from sim.world.motion import Motion
from sim.world.truth import TruthObject

FRAMES = 40


def tower_scene() -> Scene:
    """A car drives behind a tower and out again, seen by a hovering craft; a second car is never whole."""
    car, tower = KINDS["car"], BuildingSize(4.0, 4.0, 9.0, is_pitched=False)
    things = [
        Thing(
            1, Label.CAR, 1, Motion((-22.0, 0.0), 0.0, 10.0, 500.0), lambda: car.make(1), car.half_m, 1.7, name="car"
        ),
        Thing(2, None, 2, Motion((0.0, -6.0), 0.0), lambda: building(rng_for("test", 1), tower), (4.0, 4.0), 11.0),
        Thing(3, Label.CAR, 3, Motion((34.3, 10.0), 1.5), lambda: car.make(3), car.half_m, 1.7, name="car"),
    ]
    sun = Sun(0.0, 60.0, 0.9, (1.0, 1.0, 1.0))
    world = World(("test", 0), 80.0, [], [], sun, (52.0, 105.0, 78.0), things)
    style = FlightStyle(speed_mps=0.01, altitude_m=(60.0, 60.0), pitch_deg=(-65.0, -65.0), jitter_deg=0.0)
    flight = Flight(np.array([[0.0, -40.0], [0.0, -30.0]]), style, np.random.default_rng(0))
    return Scene("test", 0, world, Camera(500.0, 320, 256), flight, Look.RGB, 10.0)


@pytest.fixture(scope="module")
def sequences(tmp_path_factory):
    out = tmp_path_factory.mktemp("tracks")
    return out, render_tracks(tower_scene(), out, FRAMES / 10.0, 10.0)


def _numbers(path):
    return np.loadtxt(path, delimiter=",", ndmin=2)


def test_only_what_is_whole_for_long_is_a_target(sequences):
    out, count = sequences
    assert count == 1
    assert sorted(p.name for p in out.iterdir()) == ["Car-00001", "frames"]


def test_sequence_has_the_layout_of_tracking_benchmarks(sequences):
    folder = sequences[0] / "Car-00001"
    boxes = _numbers(folder / "groundtruth.txt")
    assert boxes.shape == (len(list((folder / "img").iterdir())), 4)
    assert float((folder / "fps.txt").read_text()) == 10.0
    assert json.loads((folder / "target.json").read_text())["name"] == "car"
    assert sum(1 for _ in open_source(str(folder))) == len(boxes)


def test_target_moves_and_visibility_tells_when_it_is_hidden(sequences):
    folder = sequences[0] / "Car-00001"
    boxes, seen = _numbers(folder / "groundtruth.txt"), _numbers(folder / "visibility.txt")
    assert seen[0, 0] > 0.9
    there = boxes[:, 2] > 0
    assert (np.diff(boxes[there, 0]) > 0).all()
    assert ((seen[:, 0] < 0.1) == ~there).all()
    assert (boxes[~there] == 0).all()


def test_a_flight_that_is_cut_short_keeps_its_sequences(sequences, tmp_path):
    def stop(done):
        if done == FRAMES - 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render_tracks(tower_scene(), tmp_path, FRAMES / 10.0, 10.0, on_frame=stop)
    whole, cut = (_numbers(folder / "Car-00001" / "groundtruth.txt") for folder in (sequences[0], tmp_path))
    assert 20 < len(cut) < len(whole)
    assert (cut == whole[: len(cut)]).all()


def test_what_is_known_of_a_target_takes_28_bytes_a_frame():
    target = _Target(TruthObject(1, Label.CAR, 1, (1.0, 2.0, 9.0, 8.0), 1.0, 0.0))
    for frame in range(1000):
        target.add(frame, target.first)
    assert len(target.numbers) * target.numbers.itemsize == 28_000
    assert list(target.seen())[999] == (999.0, 1.0, 0.0, 1.0, 2.0, 9.0, 8.0)
