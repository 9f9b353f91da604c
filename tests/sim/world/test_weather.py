import dataclasses

import numpy as np
import pytest

from sim.craft.camera import Camera, CameraPose
from sim.world import Look, Sun, World
from sim.world.layout import Change
from sim.world.lighting import NIGHT_GAIN
from sim.world.sensor import CHANNELS, Sensor, SensorTraits, draw_traits, roughened
from sim.world.settings import WeatherSettings
from sim.world.weather import AIR_LIGHT, Weather

CAMERA = Camera(150.0, 160, 128)
POSE = CameraPose(0.0, 0.0, 60.0)
PLAIN = SensorTraits(0.3, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)


def _weather(look=Look.RGB, changes=(), night=0.0, **settings):
    sun = Sun(180.0, 50.0, 0.5, (1.0, 1.0, 1.0), night=night)
    world = World(("test", 1), 60.0, [], [], sun, (50.0, 100.0, 80.0), weather=WeatherSettings(**settings))
    world.changes.extend(changes)
    return Weather(world, CAMERA, look)


def _noise():
    return np.random.default_rng(0).integers(0, 200, (128, 160, 3)).astype(np.uint8)


def test_clear_weather_changes_nothing():
    image = _noise()
    assert _weather().over(image, POSE, 1.0) is image


def test_haze_pulls_towards_air_light():
    seen = _weather(haze=0.5).over(np.zeros((128, 160, 3), np.uint8), POSE, 0.0)
    assert seen.mean() == pytest.approx(0.5 * AIR_LIGHT[Look.RGB], abs=1)


@pytest.mark.parametrize("what", ["haze", "rain"])
def test_air_and_drops_are_as_dark_as_the_night_but_for_heat(what):
    dark = np.zeros((128, 160, 3), np.uint8)

    def level(look, night):
        return _weather(look, night=night, **{what: 0.8}).over(dark, POSE, 0.0).mean()

    assert level(Look.RGB, 1.0) == pytest.approx(NIGHT_GAIN * level(Look.RGB, 0.0), rel=0.1)
    assert level(Look.MULTISPECTRAL, 0.5) < 0.7 * level(Look.MULTISPECTRAL, 0.0)
    assert level(Look.THERMAL, 1.0) == level(Look.THERMAL, 0.0)


def test_fog_comes_when_it_is_due():
    weather = _weather(changes=[Change("haze", at_s=5.0, over_s=10.0, share=0.6)])
    contrast = [weather.over(_noise(), POSE, t).std() for t in (4.9, 10.0, 30.0)]
    assert contrast[0] == pytest.approx(_noise().std())
    assert contrast[1] == pytest.approx(0.7 * contrast[0], rel=0.03)
    assert contrast[2] == pytest.approx(0.4 * contrast[0], rel=0.03)


def test_rain_sets_in_and_stays():
    weather = _weather(changes=[Change("rain", at_s=2.0, over_s=3.0, share=1.0)])
    image = np.full((128, 160, 3), 60, np.uint8)
    assert weather.over(image, POSE, 1.0) is image
    wet = [weather.over(image, POSE, t).std() for t in (3.0, 5.0, 60.0)]
    assert 0 < wet[0] < wet[1]
    assert wet[2] == pytest.approx(wet[1], rel=0.2)


def test_cloud_shadow_covers_about_its_share_and_drifts():
    weather = _weather(cloud_shadow=0.4)
    flat = np.full((128, 160, 3), 200, np.uint8)
    poses = [CameraPose(float(x), float(y), 60.0) for x in range(0, 2000, 200) for y in range(0, 2000, 200)]
    shaded = np.mean([(weather.over(flat, pose, 0.0) < 180).mean() for pose in poses])
    assert shaded == pytest.approx(0.4, abs=0.12)
    then = np.array([weather.over(flat, pose, 30.0).mean() for pose in poses])
    assert not np.allclose(then, [weather.over(flat, pose, 0.0).mean() for pose in poses])


def test_radar_sees_through_everything():
    image = _noise()
    weather = _weather(Look.SAR, [Change("haze", 0.0, 1.0, 0.9)], haze=0.9, rain=1.0, cloud_shadow=0.9)
    assert weather.over(image, POSE, 5.0) is image


def _expose(look, layers, **traits):
    sensor = Sensor(dataclasses.replace(PLAIN, **traits), look, (128, 160), np.random.default_rng(1))
    return sensor.expose(layers, 2.0)


@pytest.mark.parametrize("look", list(Look))
def test_sensor_delivers_its_channels(look):
    layers = [np.full((128, 160, c) if c > 1 else (128, 160), 120, np.uint8) for c in CHANNELS[look]]
    traits = draw_traits(np.random.default_rng(2), look)
    image = Sensor(traits, look, (128, 160), np.random.default_rng(1)).expose(layers, 1.0)
    assert image.shape == (128, 160, 6 if look is Look.MULTISPECTRAL else 3)
    assert image.dtype == np.uint8


def test_shake_smears_along_its_direction():
    point = np.zeros((128, 160, 3), np.uint8)
    point[64, 80] = 255
    smeared = _expose(Look.RGB, [point], shake_px=7.0, shake_deg=0.0)[:, :, 0] > 8
    rows, columns = np.nonzero(smeared)
    assert np.ptp(columns) >= 5
    assert np.ptp(rows) <= 2


def test_lossy_encoder_damages_and_exposure_hunts():
    image = _noise()
    clean = _expose(Look.RGB, [image])
    assert np.abs(_expose(Look.RGB, [image], jpeg_quality=25).astype(int) - clean).mean() > 3
    assert _expose(Look.RGB, [image], exposure_swing=0.2).mean() != pytest.approx(clean.mean(), rel=0.01)


def test_speckle_follows_the_gamma_law():
    """In dB the spread of four-look speckle is 4.34 * sqrt(trigamma(4)) = 2.32 (the law's own moments)."""
    flat = np.full((128, 160), 120, np.uint8)
    image = _expose(Look.SAR, [flat], blur_px=0.01)[:, :, 0].astype(float)
    assert image.std() / 5.5 == pytest.approx(2.32, rel=0.1)


def test_rough_days_come_in_about_a_third_of_the_cases():
    drawn = [roughened(PLAIN, np.random.default_rng(i)) for i in range(300)]
    assert 0.2 < np.mean([t.shake_px > 0 for t in drawn]) < 0.4
    assert 0.25 < np.mean([t.jpeg_quality is not None for t in drawn]) < 0.45
