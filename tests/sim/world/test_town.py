import pytest

from sim.world import Label, WorldSettings, build_world

EVERYTHING = {"novel_per_hectare": 40.0, "debris_per_hectare": 9.0, "bicycles_per_hectare": 12.0}


def build_town(purpose, seed, **contents):
    return build_world(purpose, seed, WorldSettings(half_m=130.0, **contents))


def _labels(world):
    return {thing.label for thing in world.things} - {None}


TOWN_LABELS = [Label.PERSON, Label.CAR, Label.BICYCLE, Label.OTHER_VEHICLE, Label.DEBRIS, Label.NOVEL]


def test_labels_are_spelled_as_in_the_data_sets():
    assert [label.value for label in TOWN_LABELS] == ["Person", "Car", "Bicycle", "OtherVehicle", "Debris", "Novel"]


def test_town_holds_only_what_was_asked_for():
    assert _labels(build_town("test", 4)) == {Label.PERSON, Label.CAR, Label.OTHER_VEHICLE}


def test_town_holds_everything_asked_for():
    assert _labels(build_town("test", 4, **EVERYTHING)) == set(TOWN_LABELS)


def test_town_numbers_are_unique():
    things = build_town("test", 5, novel_per_hectare=40.0).things
    assert sorted(t.object_id for t in things) == list(range(1, len(things) + 1))


def test_town_with_same_seed_is_the_same():
    first, second = (build_town("test", 6, novel_per_hectare=40.0) for _ in range(2))
    assert [(t.label, t.kind, t.motion) for t in first.things] == [(t.label, t.kind, t.motion) for t in second.things]


def test_purposes_never_share_a_town():
    first, second = build_town("test", 7), build_town("other", 7)
    assert [r.offset_m for r in first.roads] != [r.offset_m for r in second.roads]


@pytest.mark.parametrize("seed", range(4))
def test_moving_vehicles_meet_no_standing_things(seed):
    """Lanes with traffic stay free of everything that stands."""
    world = build_town("test", seed, novel_per_hectare=40.0, debris_per_hectare=9.0)
    standing = [t.motion.start_m for t in world.things if t.is_static and t.label in (Label.DEBRIS, Label.NOVEL)]
    for road in world.roads:
        for is_forward, busy in zip((True, False), road.has_traffic, strict=True):
            middle = road.place(0.0, road.lane_offset_m(0, is_forward))
            axis = 1 if road.is_east_west else 0
            assert not busy or all(abs(place[axis] - middle[axis]) > 1.3 for place in standing)
