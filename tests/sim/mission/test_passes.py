import pytest

from sim.craft.contact import ContactWindow
from sim.mission.passes import View, drone_passes, share_antennas
from sim.mission.settings import DroneSettings, LinkSettings

LINK = LinkSettings(edge_to_cloud_bps=1e6, cloud_to_edge_bps=1e5)


def view(craft: str, start_s: float, end_s: float, station: str = "north") -> View:
    return View(craft, station, ContactWindow(start_s, end_s, 45.0))


def share(*views: View, antennas: int = 1):
    stations = {v.station for v in views}
    passes, missed = share_antennas(views, dict.fromkeys(stations, antennas), dict.fromkeys(stations, LINK))
    spans = {craft: [(p.station, p.start_s, p.end_s) for p in found] for craft, found in passes.items()}
    return spans, missed


def test_second_craft_gets_the_rest_of_its_window():
    spans, missed = share(view("a", 0, 100), view("b", 50, 160))
    assert spans == {"a": [("north", 0, 100)], "b": [("north", 100, 160)]}
    assert missed == []


def test_craft_within_another_ones_window_misses():
    spans, missed = share(view("a", 0, 100), view("b", 20, 105))
    assert "b" not in spans
    assert [v.craft for v in missed] == ["b"]


def test_second_antenna_serves_both():
    spans, _ = share(view("a", 0, 100), view("b", 20, 90), antennas=2)
    assert spans["b"] == [("north", 20, 90)]


def test_craft_talks_to_one_station_at_a_time():
    spans, _ = share(view("a", 0, 100), view("a", 60, 200, "south"))
    assert spans["a"] == [("north", 0, 100), ("south", 100, 200)]


@pytest.mark.parametrize(
    ("up_s", "down_s", "offset_s", "spans"),
    [
        (10, 20, 5, [(5, 15), (35, 45)]),
        (30, 30, 0, [(0, 30)]),
        (100, 0, 0, [(0, 60)]),
        (10, 10, 90, []),
    ],
)
def test_drone_link_follows_its_pattern_until_the_end(up_s, down_s, offset_s, spans):
    drone = DroneSettings(lat_deg=0, lon_deg=0, link=LINK, up_s=up_s, down_s=down_s, offset_s=offset_s)
    assert [(p.start_s, p.end_s) for p in drone_passes(drone, 60.0)] == spans
