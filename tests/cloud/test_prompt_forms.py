"""Prototypes and directions: what each is, and which one a replay chooses."""

from dataclasses import replace

import numpy as np
import pytest

from cloud.config import PromptSettings
from cloud.errors import PromptRefused
from cloud.prompt_forms import Lesson, as_direction, as_prototypes, away_from, better_form, keep_rate, learn, towards
from edge.student import unit_rows
from protocols.vectors import Vectors

SETTINGS = PromptSettings()
DIM = 16


def unit(*components):
    vector = np.zeros(DIM, np.float32)
    vector[: len(components)] = components
    return vector / np.linalg.norm(vector)


def cloud(rng, centre, count, spread):
    return unit_rows(centre + spread * rng.normal(size=(count, DIM)).astype(np.float32))


def lesson(own, owner, near, recent=None):
    return Lesson(
        own=own,
        owner=np.asarray(owner),
        pooled=own[np.unique(owner, return_index=True)[1]],
        varied=own[:0],
        near=near,
        recent=near[:0] if recent is None else recent,
        expected=0.9,
    )


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.fixture
def shifted(rng):
    """Things differ more from each other than from the background, but all in one direction from it."""
    street = unit(1.0)
    own = cloud(rng, street + 0.5 * unit(0, 1.0), 6, 0.15)
    return lesson(own, range(6), cloud(rng, street, 60, 0.15))


@pytest.fixture
def two_looks(rng):
    """Things have two looks, the background has two others, and both have the same mean."""
    own, near = (
        np.concatenate([cloud(rng, unit(1.0) + sign * unit(0, *aside), count, 0.05) for sign in (1, -1)])
        for aside, count in (((1.0,), 4), ((0, 1.0), 30))
    )
    return lesson(own, range(8), near)


def test_direction_leads_from_the_mean_of_the_background_to_the_thing():
    things, street = np.stack([unit(1, 1), unit(1, 2)]), np.stack([unit(1), unit(1, 0, 1)])
    thing = things.mean(axis=0) / np.linalg.norm(things.mean(axis=0))
    expected = thing - street.mean(axis=0)
    assert away_from(things, street) == pytest.approx(expected / np.linalg.norm(expected), abs=1e-6)


def test_a_direction_from_where_it_began_leads_back_to_the_thing():
    thing, street = unit(1, 2), np.stack([unit(1), unit(1, 0, 1)])
    assert towards(away_from(thing[None], street), street.mean(axis=0)) == pytest.approx(thing, abs=1e-6)
    on_the_sphere = towards(unit(1), unit(1))
    assert on_the_sphere == pytest.approx(1.01 * unit(1))


def test_direction_to_what_looks_exactly_like_the_background_is_refused():
    with pytest.raises(PromptRefused, match="looks exactly like it"):
        away_from(unit(1, 1)[None], unit(1, 1)[None])


def test_replay_prefers_the_direction_where_things_differ_as_much_as_the_background(shifted):
    assert better_form(shifted, SETTINGS) == "direction"
    known = learn(shifted, SETTINGS)
    assert (known.positives.shape, len(known.negatives), known.direction_cases) == ((1, DIM), 0, 1)
    assert known.temperature == SETTINGS.direction_temperature


def test_replay_prefers_prototypes_for_things_of_two_looks(two_looks):
    assert better_form(two_looks, SETTINGS) == "prototypes"
    known = learn(two_looks, SETTINGS)
    assert (len(known.positives), known.direction_cases) == (2, 0)
    assert SETTINGS.floor <= known.threshold <= SETTINGS.ceiling


def test_one_thing_alone_makes_a_direction_and_no_background_prototypes(shifted):
    alone = lesson(shifted.own[:2], [0, 0], shifted.near)
    assert better_form(alone, SETTINGS) == "direction"
    assert better_form(lesson(alone.own, alone.owner, shifted.near[:3]), SETTINGS) == "prototypes"


@pytest.mark.parametrize(("form", "cases"), [("prototypes", 0), ("direction", 1)])
def test_settings_decide_the_form(shifted, form, cases):
    assert learn(shifted, SETTINGS.model_copy(update={"form": form})).direction_cases == cases


def test_margins_are_those_of_the_crafts_matching(two_looks):
    known = as_prototypes(two_looks, SETTINGS)
    vectors = np.concatenate([two_looks.own, two_looks.near])
    rival = np.maximum((vectors @ known.negatives.T).max(axis=1) - 0.05, known.threshold)
    assert known.margins(vectors) == pytest.approx((vectors @ known.positives.T).max(axis=1) - rival, abs=1e-6)


def test_direction_leaves_no_more_background_above_its_threshold_than_is_allowed(rng, shifted):
    hard = lesson(shifted.own, shifted.owner, np.concatenate([shifted.near, cloud(rng, shifted.own[0], 10, 0.1)]))
    strict = SETTINGS.model_copy(update={"false_per_box": 0, "background_quantile": 0.5, "direction_floor": 0.0})
    known = as_direction(hard, strict)
    assert (hard.own @ known.positives[0]).max() > known.threshold
    assert ((hard.near @ known.positives[0]) > known.threshold).sum() <= 1
    loose = as_direction(hard, strict.model_copy(update={"false_per_box": 10}))
    assert loose.threshold < known.threshold


def test_direction_to_what_the_background_shows_too_is_refused(rng):
    own, street = cloud(rng, unit(0, 1.0), 3, 0.1), cloud(rng, unit(1.0), 80, 0.1)
    with pytest.raises(PromptRefused, match="the background looks like it"):
        as_direction(lesson(own, range(3), np.concatenate([street, *[own] * 5])), SETTINGS)


def test_direction_of_several_things_heeds_one_boxed_by_mistake_little(rng):
    street, thing = unit(1.0), unit(1.0, 1.0)
    near = cloud(rng, street, 60, 0.05)
    clean = lesson(cloud(rng, thing, 6, 0.05), range(6), near)
    wrong = np.concatenate([clean.own[:5], unit(0, 0, 0, 1.0)[None]])
    truth = away_from(clean.views, near)
    kept = as_direction(lesson(wrong, range(6), near), SETTINGS).positives[0] @ truth
    assert kept > 0.99 > 0.97 > away_from(lesson(wrong, range(6), near).views, near) @ truth


def test_direction_of_one_or_two_things_is_from_the_mean(rng):
    near = cloud(rng, unit(1.0), 60, 0.1)
    for count in (1, 2):
        few = lesson(cloud(rng, unit(1.0, 1.0), count, 0.3), range(count), near)
        assert as_direction(few, SETTINGS).positives[0] == pytest.approx(away_from(few.views, near), abs=1e-6)


def alarms(known, background):
    """How many candidates match when the prompt has become bytes."""
    as_bytes = replace(known, positives=Vectors.from_array(known.positives).to_array())
    return int((as_bytes.margins(background) > 0).sum())


@pytest.mark.parametrize("rate", [0.0, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("form", ["prototypes", "direction"])
def test_threshold_keeps_the_stated_rate_on_the_replayed_background(rng, form, rate):
    street = cloud(rng, unit(1.0), 60, 0.3)
    hard = cloud(rng, unit(1.0, 0.8), 40, 0.15)
    shown = replace(lesson(cloud(rng, unit(1.0, 2.0), 6, 0.05), range(6), street, hard), images=4)
    settings = SETTINGS.model_copy(update={"form": form, "false_per_frame": rate, "min_separation": -2.0})
    loose = learn(shown, settings)
    loose = replace(loose, threshold=0.0, negatives=loose.negatives[:0])
    kept = keep_rate(loose, shown, settings, is_certain=False)
    assert alarms(loose, shown.rivals) > 12
    assert alarms(kept, shown.rivals) == 4 * rate
    assert alarms(kept, shown.own) == 6


def test_rate_that_costs_the_thing_itself_is_refused_unless_a_person_is_certain(rng):
    own = cloud(rng, unit(1.0, 0.2), 3, 0.05)
    shown = lesson(own, range(3), cloud(rng, unit(1.0), 10, 0.02), own[[0, 0, 0, 1, 1, 1, 2, 2, 2]])
    settings = SETTINGS.model_copy(update={"min_separation": -2.0, "false_per_frame": 1.0})
    loose = replace(learn(shown, settings), threshold=0.0)
    with pytest.raises(PromptRefused, match="over 1 false alarms in each of 1 images of background"):
        keep_rate(loose, shown, settings, is_certain=False)
    certain = keep_rate(loose, shown, settings, is_certain=True)
    assert certain.threshold > 0.0
    assert alarms(certain, own) >= 1
