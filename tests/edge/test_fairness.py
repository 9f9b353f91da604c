import pytest

from edge.fairness import HALF_LIFE_S, FairShares, class_of
from protocols.values import Detection


def seen(label, score):
    return Detection(box_xyxy=(0, 0, 9, 9), label=label, score=score)


BOTH = (seen("Car", 0.9), seen("Bicycle", 0.4))


@pytest.mark.parametrize(
    ("reasons", "detections", "target_id", "name"),
    [
        pytest.param({"unexplained": 0.8, "doubt": 0.3}, BOTH, None, "no name", id="unknown thing"),
        pytest.param({"unexplained": 0.1, "doubt": 0.7}, BOTH, None, "Bicycle", id="least sure class"),
        pytest.param({"doubt": 0.7}, (), None, "no name", id="nothing reported"),
        pytest.param({"doubt": 0.7, "audit": 1.0}, BOTH, None, "audit", id="audit"),
        pytest.param({"lost": 1.0}, BOTH, 3, "target 3", id="target"),
        pytest.param({}, (), None, "no name", id="nothing known"),
    ],
)
def test_class_of_a_case(reasons, detections, target_id, name):
    assert class_of(reasons, detections, target_id) == name


def test_what_was_given_fades():
    shares = FairShares()
    shares.give("Car", 1000, 0.0)
    assert shares.given("Car", HALF_LIFE_S) == pytest.approx(500)
    shares.give("Car", 100, HALF_LIFE_S)
    assert shares.given("Car", HALF_LIFE_S) == pytest.approx(600)
    assert shares.given("Bicycle", 0.0) == 0


def test_alone_nobody_has_more_than_its_share():
    shares = FairShares()
    shares.give("Car", 1e6, 0.0)
    shares.give("Bicycle", 1.0, 0.0)
    assert not shares.has_its_share("Car", 0.0)  # nobody else wants any
    shares.want("Bicycle", 0.0)
    assert shares.has_its_share("Car", 0.0)
    assert not shares.has_its_share("Bicycle", 0.0)
    assert not shares.has_its_share("Car", 60.0)  # it has given up wanting
