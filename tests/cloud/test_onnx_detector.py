"""Detectors of other makes as teachers, on small models made here."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from cloud.errors import TeacherError
from cloud.teachers import Exemplar, open_teacher

SIDE = 64
BOXES = np.array([[8, 8, 24, 24], [9, 8, 25, 24], [40, 40, 56, 60]], np.float32)  # the second repeats the first
SCORES = np.array([0.9, 0.8, 0.6], np.float32)


def save(path, outputs, nodes, constants, side=SIDE, channels=3):
    """A model that multiplies its scores by the largest value of the input's first channel."""
    first = numpy_helper.from_array(np.array([0], np.int64), "zero")
    axes = numpy_helper.from_array(np.array([1, 2, 3], np.int64), "axes")
    look = [
        helper.make_node("Gather", ["image", "zero"], ["channel"], axis=1),
        helper.make_node("ReduceMax", ["channel", "axes"], ["brightest"], keepdims=0),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, channels, side, side])
    initializers = [first, axes, *(numpy_helper.from_array(value, name) for name, value in constants.items())]
    graph = helper.make_graph([*look, *nodes], "tiny", [image], outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def yolo_map(path, side=SIDE):
    """(1, 4 + 2, 3): Car twice in one place, Boat."""
    middles = np.stack([(BOXES[:, 0] + BOXES[:, 2]) / 2, (BOXES[:, 1] + BOXES[:, 3]) / 2])
    sizes = np.stack([BOXES[:, 2] - BOXES[:, 0], BOXES[:, 3] - BOXES[:, 1]])
    places = np.concatenate([middles, sizes])[None]
    scores = np.array([[[0.9, 0.8, 0.1], [0.2, 0.1, 0.6]]], np.float32)
    nodes = [
        helper.make_node("Mul", ["scores", "brightest"], ["lit"]),
        helper.make_node("Concat", ["places", "lit"], ["map"], axis=1),
    ]
    output = helper.make_tensor_value_info("map", TensorProto.FLOAT, [1, 6, 3])
    save(path, [output], nodes, {"places": places.astype(np.float32), "scores": scores}, side)


def lists(path, boxes=BOXES, first_label=0):
    """Boxes, labels, scores, in another order than they are asked for."""
    nodes = [
        helper.make_node("Mul", ["given", "brightest"], ["scores"]),
        helper.make_node("Identity", ["places"], ["boxes"]),
        helper.make_node("Identity", ["numbers"], ["labels"]),
    ]
    outputs = [
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, [3]),
        helper.make_tensor_value_info("labels", TensorProto.INT64, [3]),
        helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [3, 4]),
    ]
    numbers = np.array([0, 0, 1], np.int64) + first_label
    save(path, outputs, nodes, {"places": boxes, "numbers": numbers, "given": SCORES})


def told(path, **settings):
    settings = {"labels": ["Car", "Boat"], **settings}
    lines = [
        f"{name} = {value!r}" if isinstance(value, str) else f"{name} = {value}" for name, value in settings.items()
    ]
    path.with_suffix(".toml").write_text("\n".join(lines).replace("'", '"'))
    return str(path)


def image(height=SIDE, width=SIDE, colour=(0, 0, 255)):
    return np.full((height, width, 3), colour, np.uint8)


@pytest.mark.parametrize("make", [yolo_map, lists])
def test_both_layouts_say_the_same(tmp_path, make):
    make(tmp_path / "their.onnx")
    teacher = open_teacher(told(tmp_path / "their.onnx"))
    (answer,) = teacher.interpret([image()])
    assert answer.labels == ("Car", "Boat")
    assert answer.boxes_xyxy.tolist() == [[8, 8, 24, 24], [40, 40, 56, 60]]
    assert answer.scores == pytest.approx([0.9, 0.6])
    assert (teacher.name, teacher.labels) == ("their/onnx", ("Car", "Boat"))


def test_boxes_come_back_in_pixels_of_the_given_image(tmp_path):
    yolo_map(tmp_path / "their.onnx")
    (answer,) = open_teacher(told(tmp_path / "their.onnx")).interpret([image(64, 128)])
    assert answer.boxes_xyxy.tolist() == [[16, 16, 48, 48], [80, 64, 112, 64]]  # the lower one reaches into the gray


def test_shares_of_the_sides_are_turned_into_pixels(tmp_path):
    lists(tmp_path / "their.onnx", BOXES / SIDE)
    (answer,) = open_teacher(told(tmp_path / "their.onnx", boxes="shares")).interpret([image()])
    assert answer.boxes_xyxy.tolist() == [[8, 8, 24, 24], [40, 40, 56, 60]]


def test_channels_come_in_the_order_asked_for(tmp_path):
    yolo_map(tmp_path / "their.onnx")
    red, blue = image(colour=(0, 0, 255)), image(colour=(255, 0, 0))
    rgb, bgr = (open_teacher(told(tmp_path / "their.onnx", colours=order)) for order in ("rgb", "bgr"))
    assert [len(answer.labels) for answer in rgb.interpret([red, blue])] == [2, 0]
    bgr = open_teacher(told(tmp_path / "their.onnx", colours="bgr"))
    assert [len(answer.labels) for answer in bgr.interpret([red, blue])] == [0, 2]


def test_background_may_be_number_nought(tmp_path):
    lists(tmp_path / "their.onnx", first_label=1)
    (answer,) = open_teacher(told(tmp_path / "their.onnx", first_label=1)).interpret([image()])
    assert answer.labels == ("Car", "Boat")


def test_it_has_no_dense_features(tmp_path):
    yolo_map(tmp_path / "their.onnx")
    with pytest.raises(TeacherError, match="distil boxes and classes only"):
        open_teacher(told(tmp_path / "their.onnx")).dense_features([image()])


def test_it_cannot_look_for_exemplars(tmp_path):
    yolo_map(tmp_path / "their.onnx")
    chip = Exemplar(np.zeros((16, 16, 3), np.uint8), np.array([2, 2, 9, 9], np.float32))
    with pytest.raises(TeacherError, match="cannot look for exemplars; use the bundled teacher or one with features"):
        open_teacher(told(tmp_path / "their.onnx")).find([chip], [image()])


def test_labels_that_do_not_fit_are_named(tmp_path):
    yolo_map(tmp_path / "their.onnx")
    with pytest.raises(TeacherError, match=r"its output is \(1, 6, 3\), \(1, 7, N\) wanted for 3 labels"):
        open_teacher(told(tmp_path / "their.onnx", labels=["a", "b", "c"])).interpret([image()])


def test_outputs_of_another_kind_are_named(tmp_path):
    node = helper.make_node("Identity", ["channel"], ["features"])
    other = helper.make_node("Identity", ["brightest"], ["value"])
    outputs = [
        helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, 1, SIDE, SIDE]),
        helper.make_tensor_value_info("value", TensorProto.FLOAT, [1]),
    ]
    save(tmp_path / "their.onnx", outputs, [node, other], {})
    with pytest.raises(TeacherError, match=r"its outputs are float32 \(1, 1, 64, 64\), float32 \(1,\); one"):
        open_teacher(told(tmp_path / "their.onnx")).interpret([image()])


def test_files_that_are_missing_or_damaged_are_named(tmp_path):
    yolo_map(tmp_path / "their.onnx")
    with pytest.raises(TeacherError, match=r"their\.toml is not beside it; write one with labels"):
        open_teacher(str(tmp_path / "their.onnx"))
    (tmp_path / "their.toml").write_text("first_label = 1")
    with pytest.raises(TeacherError, match="labels: is missing"):
        open_teacher(str(tmp_path / "their.onnx"))
    (tmp_path / "broken.onnx").write_bytes(b"\x08\x01nothing")
    with pytest.raises(TeacherError, match="ONNX Runtime cannot load it"):
        open_teacher(told(tmp_path / "broken.onnx"))
    save(
        tmp_path / "flat.onnx", [helper.make_tensor_value_info("brightest", TensorProto.FLOAT, [1])], [], {}, channels=1
    )
    with pytest.raises(TeacherError, match=r"its input is \[1, 1, 64, 64\], \(1, 3, H, W\) wanted"):
        open_teacher(told(tmp_path / "flat.onnx"))


def batched_map(path):
    """As `yolo_map`, of any number of images: its scores follow each image's brightest pixel."""
    yolo_map(path)
    model = onnx.load(str(path))
    nodes = {node.output[0]: node for node in model.graph.node}
    nodes["brightest"].attribute[0].i = 1  # keepdims
    shape = numpy_helper.from_array(np.array([-1, 1, 1], np.int64), "per_image")
    model.graph.initializer.append(shape)
    reshape = helper.make_node("Reshape", ["brightest", "per_image"], ["bright"])
    model.graph.node.insert(2, reshape)
    nodes["lit"].input[1] = "bright"
    ones = helper.make_node("Div", ["bright", "bright"], ["ones"])
    spread = helper.make_node("Mul", ["places", "ones"], ["all_places"])
    model.graph.node.insert(3, ones)
    model.graph.node.insert(4, spread)
    nodes["map"].input[0] = "all_places"
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def test_model_with_a_batch_axis_answers_all_images_in_one_run(tmp_path, monkeypatch):
    batched_map(tmp_path / "their.onnx")
    teacher = open_teacher(told(tmp_path / "their.onnx"))
    runs, run = [], teacher._session.run

    class Counting:
        def run(self, names, feeds):
            runs.append(len(feeds["image"]))
            return run(names, feeds)

    monkeypatch.setattr(teacher, "_session", Counting())
    bright, dim, wide = image(), image(colour=(0, 0, 170)), image(SIDE, 2 * SIDE)
    answers = teacher.interpret([bright, dim, wide])
    assert runs == [3]
    assert [answer.scores.tolist() for answer in answers] == [
        pytest.approx([0.9, 0.6]),
        pytest.approx([0.6, 0.4], abs=1e-3),
        pytest.approx([0.9, 0.6]),
    ]
    for picture, answer in zip([bright, dim, wide], answers, strict=True):
        (alone,) = teacher.interpret([picture])
        assert alone.labels == answer.labels
        assert np.allclose(alone.boxes_xyxy, answer.boxes_xyxy)
