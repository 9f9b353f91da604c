"""A small satellite's day for tests."""

from sim.day.settings import SatelliteDay

MAGADAN = {"name": "Magadan", "lat_deg": 59.56, "lon_deg": 150.80}


def small_day(**values) -> SatelliteDay:
    """One scene of 1,500 pixels over Magadan, by a satellite of the bundled mission."""
    base = {
        "kind": "satellite-day",
        "name": "small",
        "craft": "sat-b1",
        "place": MAGADAN,
        "scene": {"count": 1, "side_px": 1500},
        "strange": {"at_first": 20, "later": 10},
    }
    return SatelliteDay.model_validate({**base, **values})
