import numpy as np
import pytest

from sim.world.materials import TABLE, Material, backscatter_db, heat_at, infrared


def _bands(material, grey):
    return infrared(np.full((1, 3), float(grey)), np.array([material]))[0]


def test_every_material_has_a_row():
    assert len(TABLE) == len(Material)


def test_leaves_shine_in_the_infrared_and_water_does_not():
    assert _bands(Material.LEAF, 30)[1] > 3 * 30
    assert _bands(Material.WATER, 60).max() < 20


@pytest.mark.parametrize("material", Material)
def test_lighter_paint_is_lighter_in_every_band(material):
    assert (_bands(material, 160) >= _bands(material, 60)).all()


@pytest.mark.parametrize("material", Material)
def test_day_is_what_the_paint_says_and_night_stays_in_range(material):
    heat = np.linspace(0, 1, 11)
    rows = np.full(11, material)
    assert heat_at(heat, rows, 0.0) == pytest.approx(heat)
    night = heat_at(heat, rows, 1.0)
    assert ((night >= 0) & (night <= 1)).all()
    assert (np.diff(night) >= 0).all()


def test_people_stand_out_at_night():
    person, roof = heat_at(np.array([0.85, 0.6]), np.array([Material.CLOTH, Material.TILE]), 1.0)
    assert person - roof > 0.3


def test_metal_is_brighter_to_a_radar_than_asphalt_and_water():
    metal, asphalt, water = backscatter_db(np.array([Material.METAL, Material.ASPHALT, Material.WATER]))
    assert metal > asphalt > water
