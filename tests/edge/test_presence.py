import math

import numpy as np
import pytest

from edge.presence import Evidence, Level, Presence, PresenceSettings, Usual
from edge.short_term import Sighting

USUAL = Evidence(3.0, 0.5, 0.8)
BAD = Evidence(-3.0, 5.0, 0.1)


def test_weigh_stays_high_while_all_is_as_usual_and_falls_within_a_few_bad_frames():
    presence = Presence(PresenceSettings())
    assert min(presence.weigh(USUAL) for _ in range(20)) > 0.8
    values = [presence.weigh(BAD) for _ in range(6)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 0.1 > values[-1]


@pytest.mark.parametrize(
    "worse",
    [Evidence(1.0, 0.5, 0.8), Evidence(3.0, 4, 0.8), Evidence(3.0, 0.5, 0.1)],
    ids=["tracker", "surprise", "looks"],
)
def test_each_thing_seen_counts(worse):
    presence = Presence(PresenceSettings())
    assert presence.odds_of(worse) < presence.odds_of(USUAL) - 0.2


def test_what_is_not_known_says_nothing():
    settings = PresenceSettings()
    presence, nothing = Presence(settings), Evidence(math.nan, math.nan)
    assert presence.odds_of(nothing, is_lost=True) == pytest.approx(settings.bias)
    assert presence.odds_of(nothing) == pytest.approx(settings.bias + settings.prior)


def test_sure_for_long_is_forgotten_as_soon_as_sure_for_short():
    long, short = Presence(PresenceSettings()), Presence(PresenceSettings())
    for _ in range(500):
        long.weigh(USUAL)
    for _ in range(20):
        short.weigh(USUAL)
    assert long.weigh(BAD) == pytest.approx(short.weigh(BAD), abs=1e-3)


def test_level_measures_in_units_of_what_is_usual():
    level = Level()
    assert level.excess(5.0) == 0.0
    for _ in range(3):
        level.learn(8.0)
    assert level.excess(4.0) == pytest.approx(-0.5)
    assert level.excess(-3.0) == -1.0
    assert math.isnan(level.excess(math.nan))


def test_deny_leaves_no_doubt():
    assert Presence(PresenceSettings()).deny() < 0.01


def sighting(**told):
    return Sighting(np.array([0, 0, 9, 9], np.float32), **told)


def test_tracker_that_judges_itself_is_believed():
    assert Usual().odds(sighting(score=0.1, sharpness=2.0, odds=1.5)) == 1.5


@pytest.mark.parametrize(
    "worse", [{"score": 0.3, "sharpness": 9.0}, {"score": 1.0, "sharpness": 4.0}], ids=["score", "sharpness"]
)
def test_tracker_that_does_not_is_judged_by_what_is_usual_for_it(worse):
    usual, well = Usual(), sighting(score=1.0, sharpness=9.0)
    for _ in range(5):
        usual.learn(well)
    assert usual.odds(sighting(**worse)) < usual.odds(well) - 0.5
    assert usual.odds(sighting(score=1.0)) == pytest.approx(usual.odds(well))
