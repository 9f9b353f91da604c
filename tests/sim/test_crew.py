import pytest
from tiny_run import pretend, rendered, tiny_scenario

from edge.cli import RunConfig
from edge.config import read_toml
from edge.link import LinkSettings
from sim.crew import EdgeProgram, Launcher, edge_config
from sim.errors import ProcessError
from sim.run_folder import RunFolder


def config_of(tmp_path, **values) -> RunConfig:
    path = tmp_path / "edge.toml"
    path.write_text(edge_config(tiny_scenario(**values)))
    return read_toml(path, RunConfig)


def test_the_budget_goes_to_the_edges_scheduler(tmp_path):
    config = config_of(tmp_path, budget={"bytes_per_s": 900, "burst_bytes": 5000})
    assert (config.agent.scheduler.budget_bytes_per_s, config.agent.scheduler.burst_bytes) == (900, 5000)
    assert config.paced


def test_a_default_scenario_leaves_the_schedulers_defaults(tmp_path):
    assert config_of(tmp_path).agent.scheduler == RunConfig().agent.scheduler


def test_patience_follows_a_slow_link(tmp_path):
    assert config_of(tmp_path).link.liveness_s == LinkSettings().liveness_s
    assert config_of(tmp_path, link={"latency_ms": 2000}).link.liveness_s == 21


def test_an_edge_is_told_its_source_link_keys_and_student(tmp_path):
    craft = {**tiny_scenario().craft[0].model_dump(), "student": "my/bundle"}
    scenario, commands = tiny_scenario(craft=[craft]), []
    folder = RunFolder.of(tmp_path, ["tiny"]).craft[0]
    fake = pretend()

    def command(*words):
        commands.append(words)
        return fake.command(*words)

    rendered(folder.flight, 1)
    with EdgeProgram(folder, scenario, "tcp://127.0.0.1:1", tmp_path / "log", Launcher(command=command)) as edge:
        edge.start()
        edge.ensure_running()
    words = commands[0]
    told = dict(zip(words[2::2], words[3::2], strict=True))
    assert told["--source"] == str(folder.flight)
    assert (told["--cloud"], told["--bundle"]) == ("tcp://127.0.0.1:1", "my/bundle")
    with pytest.raises(ProcessError):
        edge.ensure_running()
