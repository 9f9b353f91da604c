"""NanoTrack with a network made here: its features are mean colours, and its boxes are always of one size and shape."""

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge.errors import ModelError, TargetError
from edge.nanotrack import NanoNetwork, NanoTracker

SIDE = 40
WIDE_PX, HIGH_PX = 80.0, 50.0
"""Sides of every box that the network gives, in its own pixels; the target's are 63.5 by 63.5 there."""

BEST = 2.0
"""Its logit where all is as in the exemplar."""


def save(path, nodes, inputs, outputs, constants):
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A folder with a backbone that averages colours, and a head that likes those of the exemplar's middle."""
    folder = tmp_path_factory.mktemp("nano")
    # Every 16 pixels, over as much as the exemplar shows of its target; 127 pixels make 8 cells, 255 make 16.
    pool = helper.make_node(
        "AveragePool", ["picture"], ["cells"], kernel_shape=[64, 64], strides=[16, 16], pads=[32, 32, 17, 17]
    )
    save(folder / "a_backbone.onnx", [pool], [("picture", [1, 3, 255, 255])], [("cells", [1, 3, 16, 16])], {})
    nodes = [
        helper.make_node("Slice", ["first", "from", "to", "axes"], ["wanted"]),
        helper.make_node("Sub", ["now", "wanted"], ["apart"]),
        helper.make_node("ReduceL1", ["apart"], ["distance"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["distance", "slope"], ["unlike"]),
        helper.make_node("Add", ["unlike", "best"], ["alike"]),
        helper.make_node("Mul", ["alike", "none"], ["nothing"]),
        helper.make_node("Concat", ["nothing", "alike"], ["scores"], axis=1),
        helper.make_node("Identity", ["edges"], ["sides"]),
    ]
    half = np.array([WIDE_PX, HIGH_PX, WIDE_PX, HIGH_PX], np.float32) / 2
    constants = {
        "from": np.array([4, 4]),
        "to": np.array([5, 5]),
        "axes": np.array([2, 3]),
        "slope": np.float32(-0.05),
        "best": np.float32(BEST),
        "none": np.float32(0.0),
        "edges": np.broadcast_to(half[None, :, None, None], (1, 4, 16, 16)).copy(),
    }
    inputs = [("first", [1, 3, 8, 8]), ("now", [1, 3, 16, 16])]
    save(folder / "a_head.onnx", nodes, inputs, [("scores", [1, 2, 16, 16]), ("sides", [1, 4, 16, 16])], constants)
    return folder


def picture(centre=(160, 120), colour=(40, 60, 220), ground=90):
    image = np.full((240, 320, 3), ground, np.uint8)
    x, y = centre
    cv2.rectangle(image, (x - SIDE // 2, y - SIDE // 2), (x + SIDE // 2 - 1, y + SIDE // 2 - 1), colour, -1)
    return image


def box_at(x, y, side=SIDE):
    return np.array([x - side / 2, y - side / 2, x + side / 2, y + side / 2], np.float32)


@pytest.fixture
def tracker(weights):
    tracker = NanoTracker(NanoNetwork(weights))
    tracker.start(picture(), box_at(160, 120))
    return tracker


@pytest.mark.parametrize("centre", [(160, 120), (186, 120), (160, 98), (140, 134)])
def test_look_finds_the_target_around_the_place_that_is_asked_about(tracker, centre):
    found = tracker.look(picture(centre), box_at(160, 120))
    middle = (found.box_xyxy[:2] + found.box_xyxy[2:]) / 2
    assert np.abs(middle - centre).max() < 10  # half a cell is 5 px of this picture
    assert found.score > 0.6


def test_box_takes_size_and_aspect_of_the_network_by_and_by(tracker):
    box, aspects = box_at(160, 120), []
    for _ in range(40):
        box = tracker.look(picture(), box).box_xyxy
        aspects.append(float((box[2] - box[0]) / (box[3] - box[1])))
    assert 1 < aspects[0] < aspects[5] < aspects[-1]
    assert aspects[-1] == pytest.approx(WIDE_PX / HIGH_PX, rel=0.05)


def test_odds_fall_where_the_target_is_not(tracker):
    there, gone = (tracker.look(image, box_at(160, 120)) for image in (picture(), picture((40, 40))))
    assert there.odds == pytest.approx(-7.8 + 1.1 * BEST, abs=0.5)
    assert gone.odds < there.odds - 3


def test_gray_pictures_are_looked_at_too(weights):
    tracker, image = NanoTracker(NanoNetwork(weights)), picture()[..., 2].copy()
    tracker.start(image, box_at(160, 120))
    found = tracker.look(picture((180, 120))[..., 2].copy(), box_at(160, 120))
    assert (found.box_xyxy[0] + found.box_xyxy[2]) / 2 == pytest.approx(180, abs=10)


def test_target_beyond_the_edge_stays_in_the_frame(tracker):
    found = tracker.look(picture((316, 120)), box_at(330, 120))
    middle = (found.box_xyxy[:2] + found.box_xyxy[2:]) / 2
    assert (middle >= 0).all()
    assert (middle <= (320, 240)).all()


def test_copy_restarted_at_another_thing_leaves_the_first_alone(tracker):
    both = picture((110, 120))
    both[:, 160:] = picture((210, 120), colour=(220, 150, 20))[:, 160:]
    other = tracker.restarted(both, box_at(210, 120))
    for known, x in ((tracker, 110), (other, 210)):
        found = known.look(both, box_at(160, 120)).box_xyxy
        assert (found[0] + found[2]) / 2 == pytest.approx(x, abs=12)


def test_target_outside_the_frame_is_refused(weights):
    with pytest.raises(TargetError, match="outside the frame of 320x240"):
        NanoTracker(NanoNetwork(weights)).start(picture(), box_at(500, 120))


@pytest.mark.parametrize("broken", ["a_backbone.onnx", "a_head.onnx"])
@pytest.mark.parametrize("content", [b"", b"\x08\x07 no network", None], ids=["empty", "noise", "cut"])
def test_damaged_weights_are_told(weights, tmp_path, broken, content):
    for file in weights.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    whole = (weights / broken).read_bytes()
    (tmp_path / broken).write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(ModelError, match="these weights of NanoTrack cannot be read; fetch them again"):
        NanoNetwork(tmp_path)


def test_missing_weights_are_told(tmp_path):
    with pytest.raises(ModelError, match=r"holds 0 files \*backbone\*\.onnx"):
        NanoNetwork(tmp_path)
