import numpy as np
import pytest
import torch

from distill.dataset import DataSet
from distill.growth import new_rows
from distill.labelled import PLAIN, LabelledImage


def shown(*boxes, label="Boat"):
    """One gray picture in which bright squares are boats."""
    image = np.full((64, 96), 30, np.uint8)
    for x1, y1, x2, y2 in boxes:
        image[y1:y2, x1:x2] = 220
    count = len(boxes)
    item = LabelledImage(
        path=None,
        boxes_xyxy=np.array(boxes, np.float32).reshape(-1, 4),
        labels=(label,) * count,
        kinds=np.full(count, -1),
        ignore=np.zeros(count, bool),
        image_id=0,
    )
    return DataSet("shown", (item,), {None: image}, PLAIN)


def test_row_puts_things_at_an_even_chance_and_background_far_below(tiny_network):
    data = shown((12, 12, 32, 32), (60, 28, 80, 48))
    row, bias = new_rows(tiny_network, ["Boat"], data)["Boat"]
    caught = []
    hook = tiny_network.detect.register_forward_hook(lambda _m, _i, output: caught.append(output[0]))
    pixels = torch.from_numpy(np.repeat(data.image(0)[..., None], 3, axis=2))[None]
    with torch.no_grad():
        tiny_network((pixels.permute(0, 3, 1, 2).float() - 114) / 64)
    hook.remove()
    logits = torch.einsum("c,chw->hw", row, caught[0]) + bias
    things = torch.stack([logits[5, 5], logits[9, 17]])
    free = torch.ones(16, 24, dtype=torch.bool)
    free[3:8, 3:8] = free[7:12, 15:20] = False
    assert float(things.mean()) == pytest.approx(0, abs=1e-3)
    assert float(logits[free].mean()) == pytest.approx(-4, abs=0.3)


def test_label_that_nothing_shows_begins_as_a_fresh_head_does(tiny_network):
    row, bias = new_rows(tiny_network, ["Ship"], shown((12, 12, 32, 32)))["Ship"]
    assert not row.any()
    assert float(bias) == -4
