"""What a bundle says about itself."""

import pytest

from distill.bundle import add_measurements, write_bundle
from distill.model_card import CARD_NAME, model_card
from edge.bundle import load_bundle, read_manifest

REPORT = {
    "mean_cosine": 0.997,
    "p01_cosine": 0.979,
    "convolutions": 23,
    "integer_convolutions": 22,
    "layers": {},
    "before": {"map50": 0.58, "ap50_small": 0.3, "fewshot_label": "Debris", "fewshot_ap50": 0.7},
    "after": {"map50": 0.577, "ap50_small": 0.29, "fewshot_label": "Debris", "fewshot_ap50": 0.69},
}


@pytest.fixture
def bundle(finished, tmp_path):
    write_bundle(*finished, tmp_path / "bundle", {"parity": {"u8s8": REPORT}}, ["fp32"])
    return tmp_path / "bundle"


def test_card_says_what_it_is_what_it_learnt_from_and_what_int8_lost(bundle):
    card = (bundle / CARD_NAME).read_text()
    assert card.startswith("# tiny\n\nA detector for Person, Car and for things without a name")
    for line in (
        "| fp32.onnx |",
        "| hit_uav/train | 4 |",
        "CC BY 4.0",
        "| steps | 6 |",
        "| u8s8 | map50 | 0.580 | 0.577 |",
        "| u8s8 | fewshot_ap50 (Debris) | 0.700 | 0.690 |",
        "| u8s8 | convolutions run as integers |  | 22 of 23 |",
    ):
        assert line in card
    assert "What it reaches" not in card


def test_curves_go_with_the_card(finished, bundle):
    assert (bundle / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert "](curves.png)" in (bundle / CARD_NAME).read_text()
    assert "curves.png" not in model_card(read_manifest(bundle), has_curves=False)


def test_measured_numbers_stand_under_their_command(bundle):
    add_measurements(bundle, "skyloop-sim bench models", {"val": {"map50": 0.5, "ap50_small": None}})
    add_measurements(bundle, "skyloop-sim bench models", {"val": {"map50": 0.6, "ap50_small": None}})
    card = (bundle / CARD_NAME).read_text()
    assert "`skyloop-sim bench models`\n\n| measure | value |" in card
    assert "| val.map50 | 0.6 |" in card
    assert "| val.ap50_small | - |" in card
    assert "0.5 |" not in card
    assert load_bundle(bundle).manifest.metrics["parity"]["u8s8"]["p01_cosine"] == 0.979
