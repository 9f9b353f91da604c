import math

import numpy as np
import pytest

from edge.errors import ConfigError
from edge.followed_target import Target
from edge.mavlink_tracking import (
    STOP_TRACKING,
    TRACK_POINT,
    TRACK_RECTANGLE,
    TrackingImageStatus,
    image_status,
    tracking_request,
)
from edge.target_requests import TargetRequest

NAN = math.nan


@pytest.mark.parametrize(
    ("command", "params", "request_"),
    [
        (TRACK_POINT, (0.5, 0.25, 0.125), TargetRequest(point_xy=(0.5, 0.25), radius=0.125, is_normalised=True)),
        (TRACK_POINT, (0.5, 0.25, NAN, NAN), TargetRequest(point_xy=(0.5, 0.25), is_normalised=True)),
        (
            TRACK_RECTANGLE,
            (0.25, 0.5, 0.75, 1, NAN, NAN, NAN),
            TargetRequest((0.25, 0.5, 0.5, 0.5), is_normalised=True),
        ),
        (STOP_TRACKING, (), None),
    ],
    ids=["point", "point-without-radius", "rectangle", "stop"],
)
def test_command_becomes_a_request(command, params, request_):
    assert tracking_request(command, params) == request_


@pytest.mark.parametrize(
    ("command", "params", "word"),
    [
        (2000, (), "is not 2004, 2005 or 2010"),
        (TRACK_POINT, (0.5, 0.5), "3 are needed"),
        (TRACK_POINT, (0.5, 1.5, 0), "not in shares"),
        (TRACK_RECTANGLE, (0.1, 0.2, 0.3, NAN), "not in shares"),
        (TRACK_RECTANGLE, (0.3, 0.2, 0.1, 0.4), "no area"),
    ],
    ids=["other-command", "too-few", "beyond", "nan", "inside-out"],
)
def test_bad_command_is_one_line(command, params, word):
    with pytest.raises(ConfigError, match=word) as refusal:
        tracking_request(command, params)
    assert "\n" not in str(refusal.value)


def target(state):
    return Target(1, "target", state, "why", np.array([-20, 32, 80, 64], np.float32), 0.75)


def test_status_of_a_tracked_target_is_its_rectangle_in_shares_within_the_frame():
    status = image_status(target("tracked"), 160, 128)
    assert (status.tracking_status, status.tracking_mode, status.target_data) == (1, 2, 4)
    assert (status.rec_top_x, status.rec_top_y, status.rec_bottom_x, status.rec_bottom_y) == (0, 0.25, 0.5, 0.5)
    assert math.isnan(status.point_x)


def test_status_says_lost_and_idle():
    lost = image_status(target("lost"), 160, 128)
    assert (lost.tracking_status, lost.target_data, math.isnan(lost.rec_top_x)) == (2, 0, True)
    idle = image_status(None, 160, 128)
    assert (idle.tracking_status, idle.tracking_mode) == (0, 0)
    assert set(vars(idle)) == set(vars(TrackingImageStatus()))
