import pytest

from sim.scene_plan import disaster_scene
from sim.scenes import training_scene
from sim.world import Label, Renderer


def _debris_per_frame(scene, times):
    renderer = Renderer(scene.world, scene.camera, scene.look, metres_per_px=0.5)
    truths = [renderer.render(scene.flight.pose_at(t), t)[1] for t in times]
    return [[t for t in truth if t.label is Label.DEBRIS and t.visible >= 0.35] for truth in truths], truths


@pytest.mark.parametrize("seed", [1, 2])
def test_disaster_is_clear_until_the_earthquake_then_strewn(seed):
    scene = disaster_scene(seed, 40.0)
    clear, _ = _debris_per_frame(scene, [0.0, 1.0, 2.0, 3.0, 3.9])
    assert clear == [[]] * 5
    ((*fallen,),), _ = _debris_per_frame(scene, [4.0])
    assert len(fallen) >= 10
    strewn, truths = _debris_per_frame(scene, range(7, 40, 3))
    counts = [len(found) for found in strewn]
    assert sum(n > 0 for n in counts) >= 0.8 * len(counts)
    # Six hundred frames at 15 frames per second must show well over 300: that is 0.6 a frame.
    assert sum(counts) / len(counts) > 1.2
    assert sum(any(t.label is Label.CAR for t in truth) for truth in truths) >= 0.7 * len(truths)
    assert any(t.label is Label.PERSON for truth in truths for t in truth)


@pytest.mark.parametrize("seed", range(6))
def test_disaster_flight_is_long_enough_for_any_seed(seed):
    scene = disaster_scene(seed, 40.0)
    assert scene.flight.duration_s >= scene.duration_s


def test_training_worlds_differ_from_disaster_worlds():
    training, disaster = training_scene(1, "rgb", False, False, False), disaster_scene(1)
    assert training.world.seed_key != disaster.world.seed_key
    assert [r.offset_m for r in training.world.roads] != [r.offset_m for r in disaster.world.roads]


def test_training_scene_without_debris_has_none():
    labels = {thing.label for thing in training_scene(3, "thermal", True, False, False).world.things}
    assert Label.NOVEL in labels
    assert labels.isdisjoint({Label.DEBRIS, Label.BICYCLE})
