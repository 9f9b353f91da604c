import numpy as np
import pytest
import torch

from distill.network import STRIDE_PX, SkyNet, normalise
from distill.recipe import NetworkConfig


@pytest.mark.parametrize(
    ("config", "levels"),
    [
        pytest.param(
            NetworkConfig(widths=(8, 8, 8, 8, 0), blocks=(1, 0, 2, 0), neck=8, embedding_dim=8), 3, id="to-16"
        ),
        pytest.param(
            NetworkConfig(widths=(8, 8, 8, 8, 8), blocks=(0, 1, 0, 1), neck=8, embedding_dim=8), 4, id="to-32"
        ),
    ],
)
@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 96)])
def test_outputs_lie_on_one_stride_4_grid(config, levels, height, width):
    network = SkyNet(config, 3).eval()
    with torch.no_grad():
        outputs = network(torch.zeros(2, 3, height, width))
    assert len(network.stages) == levels
    assert [tuple(o.shape[:2]) for o in outputs] == [(2, 8), (2, 1), (2, 4), (2, 3)]
    assert {tuple(o.shape[2:]) for o in outputs} == {(height // STRIDE_PX, width // STRIDE_PX)}


def test_fresh_network_believes_in_few_objects(tiny_recipe):
    torch.manual_seed(0)
    network = SkyNet(tiny_recipe().network, 2).eval()
    with torch.no_grad():
        outputs = network(torch.randn(1, 3, 64, 64))
    assert float(outputs.objectness.sigmoid().mean()) < 0.05
    assert float(outputs.class_logits.sigmoid().mean()) < 0.05


def test_state_dict_names_are_those_of_shipped_weights():
    names = SkyNet(NetworkConfig(), 4).state_dict().keys()
    parts = {name.split(".")[0] for name in names}
    assert parts == {
        "stem", "stages", "laterals", "detect", "describe", "objectness", "box_ltrb", "class_logits", "embedding",
    }  # fmt: skip
    assert {"stem.0.weight", "stages.0.1.first.0.weight", "stages.0.1.second.1.running_var"} <= set(names)


@pytest.mark.parametrize("bands", [("heat",), ("blue", "green", "red", "red_edge", "nir", "swir")], ids=len)
def test_network_of_other_bands_normalises_each_by_its_own(bands):
    count = len(bands)
    mean, deviation = tuple(10.0 * i + 5 for i in range(count)), tuple(2.0 + i for i in range(count))
    config = NetworkConfig(bands=bands, band_mean=mean, band_deviation=deviation)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 32, 64, count), np.uint8)
    planes = normalise(torch.from_numpy(pixels), config)
    np.testing.assert_allclose(
        planes[0].permute(1, 2, 0), (pixels[0] - np.array(mean)) / deviation, rtol=1e-5, atol=1e-5
    )
    assert SkyNet(config, 2).eval()(planes).objectness.shape == (1, 1, 8, 16)


def test_normalise_makes_planes_with_zero_at_the_mean():
    pixels = torch.from_numpy(np.array([[[[114, 178, 50], [0, 255, 114]]]], np.uint8))
    expected = [[[0, -114 / 64]], [[1, 141 / 64]], [[-1, 0]]]
    np.testing.assert_allclose(normalise(pixels, NetworkConfig())[0], expected, rtol=1e-6)
