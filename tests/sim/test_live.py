"""The page of a flight, asked for over real HTTP."""

import http.client
import json
import urllib.error
import urllib.request
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from tiny_run import pretend, rendered, tiny_scenario

from sim.display import Display
from sim.errors import OutputError
from sim.flying import fly
from sim.live import LiveView, captioned, has_screen, words_of
from sim.processes import free_ports
from sim.run_folder import RunFolder


def get(address: str) -> tuple[str, bytes]:
    with urllib.request.urlopen(address, timeout=10) as answer:
        return answer.headers["Content-Type"], answer.read()


class Visitor(LiveView):
    """Looks at the page while the craft fly."""

    def __init__(self):
        super().__init__(window=False)
        self.pages, self.missing, self.words = {}, None, ""

    def look(self):
        super().look()
        if self._mission.frames < 5 or self.pages:
            return
        self.pages = {name: get(self.address + name) for name in ("", "state.json", "frame/tiny.jpg")}
        self.words = words_of(self._mission.craft[0], self._mission)
        with pytest.raises(urllib.error.HTTPError) as caught:
            get(self.address + "frame/../../etc/passwd")
        self.missing = caught.value.code
        caught.value.close()


def test_a_flight_is_seen_on_the_page(tmp_path):
    scenario = tiny_scenario()
    rendered(tmp_path / "flight", scenario.frames)
    visitor = Visitor()
    fly(RunFolder.of(tmp_path, ["tiny"]), scenario, 1, Display(), launcher=pretend(), onlooker=visitor)
    assert visitor.missing == 404
    assert b"state.json" in visitor.pages[""][1]
    state = json.loads(visitor.pages["state.json"][1])
    assert state["scenario"] == "tiny"
    (craft,) = state["craft"]
    assert (craft["name"], craft["is_linked"], craft["prompts"]) == ("tiny", True, [])
    assert craft["budget_bytes"] >= scenario.budget.burst_bytes
    assert "link up   0 kB sent, budget 1" in visitor.words
    assert visitor.words.endswith("prompts: none")
    kind, content = visitor.pages["frame/tiny.jpg"]
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert kind == "image/jpeg"
    assert picture.shape == (128, 160, 3)
    assert picture[20, 10].tolist() != [90, 90, 90]  # the edge of the box
    with pytest.raises(urllib.error.URLError):
        get(visitor.address)


def test_the_window_is_drawn_ten_times_in_a_second_of_the_onlookers(monkeypatch):
    drawn = []
    monkeypatch.setattr("sim.live.cv2.waitKey", drawn.append)
    view = LiveView(window=True)
    for flight_s in (0.0, 5.0, 10.0):  # fast: all three within the same tenth
        view._mission = SimpleNamespace(craft=(), now_s=flight_s)
        view.look()
    assert drawn == [1]


def test_a_port_in_use_is_told():
    import socket

    (port,) = free_ports(1)
    with socket.create_server(("127.0.0.1", port)):
        view = LiveView(port, window=False)
        mission = SimpleNamespace(craft=())
        with pytest.raises(OutputError, match="cannot be used"), view.watching(mission):
            pass


@pytest.mark.parametrize(("error", "is_told"), [(BrokenPipeError(), False), (ValueError("a mistake"), True)])
def test_a_browser_that_leaves_is_no_error(monkeypatch, capfd, error, is_told):
    def fail(_):
        raise error

    monkeypatch.setattr("sim.live._Page.do_GET", fail)
    view = LiveView(window=False)
    with view.watching(SimpleNamespace(craft=())), pytest.raises((OSError, http.client.HTTPException)):
        get(view.address)
    assert ("Traceback" in capfd.readouterr().err) is is_told


def test_without_a_screens_name_there_is_no_screen(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("sim.live.sys.platform", "linux")
    assert not has_screen()


def test_a_screen_that_does_not_answer_is_none_and_ends_nothing(monkeypatch, capsys):
    monkeypatch.setenv("DISPLAY", ":9876")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("QT_QPA_PLATFORM", "xcb")
    assert not has_screen()
    assert capsys.readouterr().err == "no window can be opened on the screen :9876; the page shows the same\n"


@pytest.mark.parametrize(("code", "is_there"), [("pass", True), ("raise SystemExit(3)", False)])
def test_a_screen_is_there_when_a_window_opens(monkeypatch, code, is_there):
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("sim.live._PROBE", code)
    assert has_screen() is is_there


def test_the_window_tells_the_state_below_the_picture():
    picture = captioned(np.zeros((100, 640, 3), np.uint8), "12.0 s   link up")
    assert picture.shape == (128, 640, 3)
    assert not picture[:100].any()
    assert picture[100:].max() > 200
