"""Fixtures that every package's tests share: where the real data lies, and a student small enough to build here."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
import structlog
from onnx import TensorProto, helper, numpy_helper

from edge.bundle import Bundle, load_bundle

TINY_DIM = 8


@pytest.fixture(autouse=True)
def _plain_logs():
    """A command that a test runs in this process leaves its logs to a stream that is closed when it ends."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def data_root() -> Path:
    root = Path(os.environ.get("SKYLOOP_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not root.is_dir():
        pytest.skip(f"real data folder {root} is absent; set SKYLOOP_DATA")
    return root


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory) -> Bundle:
    """A bundle whose network is worked out by hand: bright spots are objects, red ones have the class `Red`.

    The embedding is a fixed mix of the mean colour around a cell, so that equal colours embed alike.
    """
    folder = tmp_path_factory.mktemp("tiny") / "bundle"
    folder.mkdir()
    onnx.save(_tiny_model(), str(folder / "fp32.onnx"))
    content = (folder / "fp32.onnx").read_bytes()
    entry = {"file": "fp32.onnx", "sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    manifest = {
        "name": "tiny",
        "labels": ["Red"],
        "space_id": "0123456789abcdef",
        "embedding_dim": TINY_DIM,
        "stride_px": 4,
        "multiple_px": 32,
        "variants": {"fp32": entry},
    }
    (folder / "bundle.json").write_text(json.dumps(manifest))
    return load_bundle(folder)


def _tiny_model() -> onnx.ModelProto:
    rng = np.random.default_rng(5)
    mix = np.linalg.qr(rng.normal(size=(TINY_DIM, 3)))[0].reshape(TINY_DIM, 3, 1, 1)
    weights = {
        "mix": mix,
        "bright": np.full((1, 3, 1, 1), 1 / 30),
        "bright_bias": np.array([-5.0]),
        "red": np.array([-1 / 8, -1 / 8, 1 / 8]).reshape(1, 3, 1, 1),
        "red_bias": np.array([-8.0]),
        "still": np.zeros((4, 3, 1, 1)),
        "log_cells": np.full(4, np.log(2.0)),  # every box is 16 px wide and high
    }
    tensors = [numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in weights.items()]
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["planes"], ["mean"], kernel_shape=[16, 16], strides=[4, 4], pads=[6, 6, 6, 6]),
        helper.make_node("Conv", ["mean", "mix"], ["embedding"]),
        helper.make_node("Conv", ["mean", "bright", "bright_bias"], ["objectness"]),
        helper.make_node("Conv", ["mean", "still", "log_cells"], ["box_ltrb"]),
        helper.make_node("Conv", ["mean", "red", "red_bias"], ["class_logits"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, [1, "h", "w", 3])
    names = ("embedding", "objectness", "box_ltrb", "class_logits")
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names]
    graph = helper.make_graph(nodes, "tiny", [image], outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
