import pytest
from pydantic import Field, model_validator

from edge.config import Settings, parse_range, read_toml
from edge.errors import ConfigError


class Lens(Settings):
    focal_m: float = Field(gt=0)


class Camera(Settings):
    lens: Lens
    width_px: int = 640

    @model_validator(mode="after")
    def _even(self):
        if self.width_px % 2:
            raise ValueError(f"width_px {self.width_px} is odd; add one")
        return self


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("lens = { focal = 1 }", r"unknown key 'lens\.focal'; check its spelling", id="misspelt"),
        pytest.param("lens = {}", r"lens\.focal_m: is missing; add it$", id="missing"),
        pytest.param(
            "lens = { focal_m = -1 }", r"lens\.focal_m: Input should be greater than 0; got -1$", id="bad value"
        ),
        pytest.param("lens = { focal_m = 1 }\nwidth_px = 7", r"file: width_px 7 is odd; add one$", id="as a whole"),
        pytest.param("lens = [", "not valid TOML", id="no TOML"),
    ],
)
def test_first_problem_is_named_in_one_line(tmp_path, text, words):
    file = tmp_path / "camera.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=words) as caught:
        read_toml(file, Camera)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["5", "a,b", "4000,0", "1,1", ""])
def test_impossible_pixel_range_is_refused(text):
    with pytest.raises(ConfigError, match="--pixel-range"):
        parse_range(text)


def test_pixel_range_is_two_numbers():
    assert parse_range("-20,4000.5") == (-20.0, 4000.5)
