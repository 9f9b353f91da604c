import pytest

from sim.errors import ScenarioError
from sim.scenario.checks import cuts_of
from sim.scenario.loader import parse_scenario
from sim.world.settings import Landscape

HEAD = 'name = "x"\nseconds = 20\n'
CRAFT = '[[craft]]\nname = "a"\nflight = { kind = "along-roads" }\n'
BODY = CRAFT + CRAFT.replace('"a"', '"b"')
# The ISS, epoch day 264 of 2008, as in the Wikipedia article on two-line element sets.
LINE_1 = "1 25544U 98067A   08264.51782528 -.00002182  00000-0 -11606-4 0  2927"
LINE_2 = "2 25544  51.6416 247.4627 0006703 130.5360 325.0288 15.72125391563537"


def satellite(flight: str, focal_px: int = 500_000) -> str:
    camera = f'[[craft]]\nname = "s"\ncamera = {{ focal_px = {focal_px} }}\n'
    return f'{camera}[craft.flight]\nkind = "satellite-pass"\n{flight}'


def tle(first: str = LINE_1, second: str = LINE_2, start: str = "2008-09-21T18:46:40Z") -> str:
    return satellite(f'tle = ["{first}", "{second}"]\nstart_utc = {start}\n')


def event(words: str) -> str:
    return f"{BODY}[[event]]\n{words}\n"


def fault(words: str) -> str:
    return f"{BODY}[[fault]]\n{words}\n"


BAD = {
    "no craft": ("craft = []", r"craft: there is none; add at least one \[\[craft\]\]"),
    "craft missing": ("", "craft is missing; add it"),
    "craft twice": (CRAFT + CRAFT, r"craft\[1\]\.name = 'a' is craft\[0\]'s name too"),
    "craft name": (CRAFT.replace('"a"', '"../up"'), r"craft\[0\]\.name = '\.\./up'"),
    "unknown key": (BODY + "[link]\nlatency = 3\n", r"unknown key 'link\.latency'; did you mean 'latency_ms'"),
    "unknown key of a flight": (
        CRAFT.replace('roads"', 'roads", speed = 3'),
        r"unknown key 'craft\[0\]\.flight\.speed'; did you mean 'speed_mps'",
    ),
    "unknown key at the top": ("sconds = 3\n" + BODY, "unknown key 'sconds'; did you mean 'seconds'"),
    "unknown key in the world": (BODY + "[world]\nland = 1\n", r"unknown key 'world\.land'; did you mean 'landscape'"),
    "unknown landscape": (BODY + '[world]\nlandscape = "moon"\n', r"world\.landscape = 'moon': should be 'town'"),
    "unknown flight": (CRAFT.replace("along-roads", "along-road"), r"craft\[0\]\.flight\.kind = 'along-road' is not"),
    "flight without kind": ('[[craft]]\nname = "a"\nflight = {}\n', r"craft\[0\]\.flight has no `kind`"),
    "unknown event": (event('kind = "flood"\nat_s = 1'), r"event\[0\]\.kind = 'flood' is not known; choose one of"),
    "too high": (
        CRAFT.replace('roads"', 'roads", altitude_m = [50, 9000]'),
        r"craft\[0\]\.flight\.altitude_m\[1\] = 9000 is not a number from 10 to 500; give one",
    ),
    "unknown power mode": (
        CRAFT + '[craft.power.compute]\nmode = "orin"\n',
        r"craft\[0\]\.power\.compute\.mode = 'orin': unknown power mode; choose one of orin-nano-7w, ",
    ),
    "panels": (
        CRAFT + "[craft.power.battery]\nsolar_w = 5\n",
        r"craft\[0\]\.power: battery\.solar_w = 5, and the estimate of a run knows no panels; leave it at 0",
    ),
    "span upside down": (
        CRAFT.replace('roads"', 'roads", altitude_m = [80, 50]'),
        r"altitude_m = \(80\.0, 50\.0\)|altitude_m = \[80, 50\]: the lower end 80 lies above",
    ),
    "not a number": (
        BODY + '[budget]\nbytes_per_s = "lots"\n',
        r"budget\.bytes_per_s = 'lots' is not a number above 0 up to 10+; give one",
    ),
    "length in words": (
        'seconds = "long"\n' + CRAFT,
        r"seconds = 'long' is not a number from 1 to 3600; give one",
    ),
    "half a pixel": (
        CRAFT + "camera = { width = 640.5 }\n",
        r"camera\.width = 640\.5 is not a whole number from 64 to 4096",
    ),
    "misspelt, so missing": (
        CRAFT.replace("flight", "flite"),
        r"unknown key 'craft\[0\]\.flite'; did you mean 'flight'",
    ),
    "unknown thing": (
        event('kind = "appear"\nat_s = 1\nobject = "tanke"'),
        r"event\[0\]\.object = 'tanke' is no kind of object; did you mean 'tanker'",
    ),
    "waypoint outside": (
        CRAFT.replace('"along-roads"', '"waypoints", points_m = [[0, 0], [900, 0]]'),
        r"points_m\[1\] = \[900\.0, 0\.0\] lies outside the world.*-230 to 230 m",
    ),
    "horizon in view": (
        CRAFT.replace('roads"', 'roads", pitch_deg = [-25, -20]') + "camera = { focal_px = 300 }\n",
        r"craft\[0\]\.flight\.pitch_deg = \[-25\.0, -20\.0\] shows the horizon: .* up to 21\.8 deg, -2 is",
    ),
    "shaken up to the horizon": (
        CRAFT.replace('roads"', 'roads", pitch_deg = [-45, -35], jitter_deg = 15'),
        r"jitter_deg = 15 the image reaches up to 2\.4 deg",
    ),
    "circle out to the horizon": (
        CRAFT.replace('"along-roads"', '"orbit-target", radius_m = 140'),
        r"craft\[0\]\.flight\.radius_m = 140 shows the horizon: .* lower it, raise altitude_m or raise focal_px",
    ),
    "target outside": (
        CRAFT.replace('"along-roads"', '"orbit-target", centre_m = [0, 900]'),
        r"centre_m = \[0\.0, 900\.0\] lies outside",
    ),
    "late event": (
        event('kind = "earthquake"\nat_s = 25'),
        r"event\[0\]\.at_s = 25 \(earthquake\) comes after .* 20 s",
    ),
    "late fault": (fault('kind = "link-cut"\nat_s = 20\nfor_s = 1'), r"fault\[0\]\.at_s = 20 \(link-cut\) comes after"),
    "two earthquakes": (
        event('kind = "earthquake"\nat_s = 1') + '[[event]]\nkind = "earthquake"\nat_s = 2\n',
        "2 of kind 'earthquake', the world takes one",
    ),
    "earthquake in a forest": (
        event('kind = "earthquake"\nat_s = 1') + '[world]\nlandscape = "forest"\n',
        r"event\[0\] \(earthquake\) cannot happen: world\.landscape 'forest' has nothing to fall",
    ),
    "ships in a town": (
        event('kind = "appear"\nobject = "tug"\nwhere = "water"\nat_s = 1'),
        "world.landscape 'town' has none; choose one of coast, port",
    ),
    "hidden for ever": (event('kind = "hide"\nat_s = 15\nfor_s = 9'), "comes out at 24 s, after the end"),
    "two hides at once": (
        event('kind = "hide"\nat_s = 1\nfor_s = 4') + '[[event]]\nkind = "hide"\nat_s = 3\nfor_s = 4\n',
        "two hides overlap, from 1 to 5 s and from 3 s",
    ),
    "fog that clears": (
        event('kind = "fog"\nat_s = 1\nover_s = 2\nhaze = 0.2') + "[world.weather]\nhaze = 0.5\n",
        r"haze = 0\.2 is no more than world\.weather\.haze = 0\.5",
    ),
    "rain that stops": (
        event('kind = "rain"\nat_s = 1\nover_s = 2\nrain = 0.2') + "[world.weather]\nrain = 0.5\n",
        r"rain = 0\.2 is no more than",
    ),
    "fault of a stranger": (
        fault('kind = "edge-restart"\nat_s = 1\nfor_s = 1\ncraft = "c"'),
        r"fault\[0\]\.craft = 'c' does not fly; choose one of a, b",
    ),
    "never back": (fault('kind = "cloud-kill"\nat_s = 18\nfor_s = 5'), r"fault\[0\] \(cloud-kill\) would end at 23 s"),
    "back after the last frame": (
        fault('kind = "edge-restart"\nat_s = 15\nfor_s = 4.95'),
        r"fault\[0\] \(edge-restart\) would end at 19\.95 s, after the last frame at 19\.9333 s; shorten",
    ),
    "two cloud faults": (
        fault('kind = "cloud-kill"\nat_s = 1\nfor_s = 5') + '[[fault]]\nkind = "cloud-restart"\nat_s = 3\nfor_s = 1\n',
        "two faults of the cloud overlap",
    ),
    "two restarts": (
        fault('kind = "edge-restart"\nat_s = 1\nfor_s = 5')
        + '[[fault]]\nkind = "edge-restart"\nat_s = 3\nfor_s = 1\ncraft = "b"\n',
        "two restarts of b overlap",
    ),
    "window after the flight": (
        BODY + "[link]\nwindows = [[1, 2], [30, 40]]\n",
        r"windows\[1\] = \[30, 40\] never opens",
    ),
    "window backwards": (BODY + "[link]\nwindows = [[9, 2]]\n", "never opens: it ends before it begins"),
    "window under a cut": (
        fault('kind = "link-cut"\nat_s = 1\nfor_s = 9\ncraft = "b"') + "[link]\nwindows = [[2, 5], [12, 14]]\n",
        r"windows\[0\] = \[2, 5\] never opens for b: link-cut faults cover it",
    ),
    "windows overlap": (BODY + "[link]\nwindows = [[1, 5], [4, 8]]\n", "two windows overlap"),
    "wild jitter": (BODY + "[link]\nlatency_ms = 5\njitter_ms = 900\n", "more than ten times link.latency_ms = 5"),
    "operator who knows nothing": (BODY + "[operator]\nlabels = []\n", r"operator\.labels = \[\]: .*at least 1"),
    "operator who sees what is not there": (
        BODY + '[operator]\nlabels = ["Car", "debri"]\n',
        r"operator\.labels\[1\] = 'debri' is nothing that the world holds; did you mean 'Debris'",
    ),
    "unknown scope": (
        BODY + '[operator]\nlabels = ["x"]\nscope = "all"\n',
        r"operator\.scope = 'all': should be 'craft'",
    ),
    "near-sighted satellite": (
        satellite("", 800),
        r"craft\[0\]\.camera\.focal_px = 800 gives 625 m per pixel from 500 km",
    ),
    "near-sighted real satellite": (
        tle().replace("500000", "10000"),
        r"craft\[0\]\.camera\.focal_px = 10000 gives 3\d\.\d m per pixel from 3\d\d km away, 0\.2 to 30 m make",
    ),
    "pass below the horizon": (
        "seconds = 900\n" + satellite(""),
        "seconds = 900: a satellite at 500 km .* give at most 295, or fly higher",
    ),
    "one TLE line": (satellite('tle = ["1 2"]'), "has 1 lines, two are wanted"),
    "damaged TLE": (
        tle(LINE_1.replace("2927", "2928")),
        r"craft\[0\]\.flight\.tle: .*a character was changed, copy both lines again",
    ),
    "swapped TLE": (tle(LINE_2, LINE_1), r"craft\[0\]\.flight\.tle: TLE line 1 .* copy both lines whole"),
    "TLE without a time": (tle(start="2008-09-21T10:00:00Z").split("start_utc")[0], "start_utc is missing"),
    "old TLE": (
        tle(start="2011-09-21T10:00:00Z"),
        r"the TLE is 1095\.9 days older than the start .*, the limit is 14; .* move `start_utc`",
    ),
    "TLE that is elsewhere": (
        tle(start="2008-09-21T10:30:00Z"),
        r"craft\[0\]\.flight\.tle: stands at most -\d.* a picture wants 20; set start_utc = 2008-09-21T18:46:40Z, when",
    ),
    "endless": ("seconds = inf\n" + BODY, "seconds"),
    "infinite flight": (BODY + "[budget]\nbytes_per_s = inf\n", r"budget\.bytes_per_s = inf"),
}


@pytest.mark.parametrize(("body", "words"), BAD.values(), ids=BAD)
def test_what_cannot_be_is_one_clear_line(body, words):
    head = HEAD if "seconds" not in body.split("[")[0] else 'name = "x"\n'
    with pytest.raises(ScenarioError, match=words) as caught:
        parse_scenario(head + body, "file.toml")
    assert str(caught.value).startswith("file.toml: ")
    assert "\n" not in str(caught.value)


def test_a_young_tle_is_taken_and_its_own_height_counts():
    # The ISS flew 350 km high then: 0.17 m per pixel from there, 0.25 m from the default circle's 500 km.
    with pytest.raises(ScenarioError, match=r"gives 0\.17\d m per pixel from 3\d\d km away"):
        parse_scenario(HEAD + tle().replace("500000", "2_000_000"), "x")
    assert parse_scenario(HEAD + tle(), "x").craft[0].flight.tle == (LINE_1, LINE_2)


def test_forests_have_roads_and_the_followed_vehicle_needs_no_traffic():
    hide = event('kind = "hide"\nat_s = 1\nfor_s = 2') + '[[event]]\nkind = "appear"\nobject = "car"\nwhere = "roads"\n'
    scenario = parse_scenario(f'{HEAD}{hide}at_s = 1\n[world]\nlandscape = "forest"\ntraffic = 0\n', "x")
    assert scenario.world.landscape is Landscape.FOREST


def test_cuts_are_those_of_the_craft_and_of_everybody():
    scenario = parse_scenario(
        HEAD
        + fault('kind = "link-cut"\nat_s = 1\nfor_s = 2')
        + '[[fault]]\nkind = "link-cut"\nat_s = 5\nfor_s = 2\ncraft = "b"\n',
        "x",
    )
    assert cuts_of(scenario, "a") == [(1, 3)]
    assert cuts_of(scenario, "b") == [(1, 3), (5, 7)]


def test_a_changed_scenario_is_checked_again():
    scenario = parse_scenario(HEAD + event('kind = "earthquake"\nat_s = 10'), "x")
    assert scenario.changed(seconds=40).seconds == 40
    with pytest.raises(ScenarioError, match="comes after the end"):
        scenario.changed(seconds=8)
