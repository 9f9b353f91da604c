from tiny_run import pretend, rendered, tiny_scenario

from sim.display import Display
from sim.flying import fly
from sim.run_folder import RunFolder
from sim.watch import CloudWatch

PAGE = (
    "# TYPE skyloop_interpreted counter\n"
    'skyloop_interpreted_total{craft="a"} 3.0\nskyloop_interpreted_total{craft="b"} 4.0\n'
)


def test_the_cloud_is_asked_at_most_four_times_a_second(monkeypatch):
    now_s, asked = [10.0], []
    monkeypatch.setattr("sim.watch.time.monotonic", lambda: now_s[0])
    monkeypatch.setattr("sim.watch.fetch", lambda port, path: asked.append((port, path)) or PAGE)
    watch = CloudWatch(7)
    watch.poll()
    assert watch.cases == 7
    now_s[0] += 0.2
    watch.poll()
    assert asked == [(7, "/metrics")]
    now_s[0] += 0.1
    watch.poll()
    assert len(asked) == 2


def test_a_cloud_that_is_away_leaves_the_count(monkeypatch):
    watch = CloudWatch(7)
    watch.cases = 5
    monkeypatch.setattr("sim.watch.fetch", lambda *_: None)
    watch.poll()
    assert watch.cases == 5


def test_all_craft_share_one_watch_of_the_cloud(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr("sim.watch.fetch", lambda *_: asked.append(1))
    monkeypatch.setattr("sim.watch._LOOK_EVERY_S", 3600.0)
    craft = tiny_scenario().craft[0].model_dump()
    scenario = tiny_scenario(craft=[{**craft, "name": name} for name in ("a", "b", "c")])
    folder = RunFolder.of(tmp_path, ["a", "b", "c"])
    for one in folder.craft:
        rendered(one.flight, scenario.frames)
    fly(folder, scenario, 1, Display(), launcher=pretend())
    assert asked == [1]
