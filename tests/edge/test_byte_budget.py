from datetime import datetime, timedelta, timezone

import pytest
from pydantic import ValidationError

from edge.agent import AgentSettings
from edge.byte_budget import ByteBudget, ContactWindow
from edge.config import read_toml
from edge.errors import ConfigError
from edge.scheduler import CasePace, SchedulerSettings

START = datetime.fromtimestamp(1.7e9, timezone.utc)  # what `fake_clock` says at its monotonic 1000


def window(opens_s, closes_s, size=1000):
    return ContactWindow(
        opens=START + timedelta(seconds=opens_s), closes=START + timedelta(seconds=closes_s), bytes=size
    )


def greedy(budget, name, now_s, each=100):
    """Spends as long as it may; returns bytes."""
    spent = 0
    while budget.affords(now_s, name):
        budget.charge(each, name)
        spent += each
    return spent


def test_contact_is_spent_over_the_time_until_it_closes(fake_clock):
    budget = ByteBudget(1e9, 1e9, [window(90, 100)], fake_clock)
    spent = [greedy(budget, "", 1000.0 + second) for second in range(100)]
    assert sum(spent) == pytest.approx(1000, abs=100)
    assert sum(spent[:50]) == pytest.approx(500, abs=100)


def test_what_was_not_spent_before_a_contact_may_all_go_in_it(fake_clock):
    budget = ByteBudget(1e9, 1e9, [window(90, 100)], fake_clock)
    assert budget.affords(1000.0) is False  # nothing is earned yet
    assert greedy(budget, "", 1099.0) == pytest.approx(990, abs=100)


def test_each_contact_has_its_own_bytes_and_after_the_last_one_only_seconds_count(fake_clock):
    budget = ByteBudget(10.0, 400.0, [window(0, 100), window(190, 200, 50)], fake_clock)
    first = sum(greedy(budget, "", 1000.0 + second, 10) for second in range(100))
    second = sum(greedy(budget, "", 1100.0 + second, 10) for second in range(100))
    after = sum(greedy(budget, "", 1200.0 + second, 10) for second in range(100))
    assert first == pytest.approx(1000, abs=20)
    assert second == pytest.approx(50, abs=20)
    assert after == pytest.approx(400 + 1000, abs=20)  # what piled up, and ten a second


def test_budget_by_the_second_binds_within_a_contact_too(fake_clock):
    budget = ByteBudget(1.0, 100.0, [window(0, 10, 10**9)], fake_clock)
    assert sum(greedy(budget, "", 1000.0 + second, 10) for second in range(10)) <= 100 + 10 + 10


def test_what_was_overdrawn_is_owed_to_the_next_contact(fake_clock):
    budget = ByteBudget(1e9, 1e9, [window(0, 10, 100), window(10, 20, 1000)], fake_clock)
    budget.affords(1005.0)
    budget.charge(600)
    assert not budget.affords(1012.0)  # 200 earned, 500 owed
    assert budget.affords(1016.0)


@pytest.mark.parametrize("flood", [1, 20])
def test_no_class_starves_another(flood):
    budget = ByteBudget(1000.0, 10_000.0)
    spent = {"Car": 0, "Bicycle": 0}
    for step in range(6000):  # ten minutes
        for name, tries in (("Car", flood), ("Bicycle", 1)):
            for _ in range(tries):
                if budget.affords(step / 10, name):
                    budget.charge(500, name)
                    spent[name] += 500
    assert sum(spent.values()) == pytest.approx(10_000 + 600 * 1000, rel=0.05)
    assert spent["Bicycle"] > 0.4 * sum(spent.values())


def test_alone_a_class_may_spend_all():
    budget = ByteBudget(0.0, 10_000.0)
    assert greedy(budget, "Car", 0.0, 500) == 10_000


def test_pace_defers_the_class_that_had_its_share():
    pace = CasePace(
        SchedulerSettings(patience_frames=1, min_interval_s=0.0, budget_bytes_per_s=0.0, burst_bytes=1000.0)
    )
    assert pace.allows(0.0, 0.9, is_new=True, name="Car")
    pace.spend(0.0, 600, "Car")
    assert pace.allows(0.1, 0.9, is_new=True, name="Bicycle")
    assert not pace.allows(0.2, 0.9, is_new=True, name="Car")
    assert pace.deferred == 1


def test_scarcity_follows_what_is_left():
    budget = ByteBudget(0.0, 1000.0)
    assert budget.scarcity == 0.0
    budget.charge(400)
    assert budget.scarcity == pytest.approx(0.4)
    budget.charge(4000)
    assert budget.scarcity == 1.0


CONTACTS = """
[[scheduler.contacts]]
opens = {}
closes = {}
bytes = {}
"""


@pytest.mark.parametrize(
    ("windows", "said"),
    [
        ([("2026-01-01T10:00:00", "2026-01-01T11:00:00Z", 5)], "timezone"),
        ([("2026-01-01T12:00:00Z", "2026-01-01T11:00:00Z", 5)], "turn them round"),
        ([("2026-01-01T10:00:00Z", "2026-01-01T11:00:00Z", 0)], "greater than 0"),
        (
            [("2026-01-01T10:00:00Z", "2026-01-01T11:00:00Z", 5), ("2026-01-01T10:30:00Z", "2026-01-01T12:00:00Z", 5)],
            "overlaps the one before",
        ),
    ],
    ids=["no zone", "turned round", "no bytes", "overlap"],
)
def test_impossible_contacts_are_refused_in_one_line(tmp_path, windows, said):
    path = tmp_path / "edge.toml"
    path.write_text("".join(CONTACTS.format(*each) for each in windows))
    with pytest.raises(ConfigError, match=said) as caught:
        read_toml(path, AgentSettings)
    assert "\n" not in str(caught.value)


def test_contacts_are_read_in_any_order(tmp_path):
    path = tmp_path / "edge.toml"
    late = ("2026-01-01T12:00:00Z", "2026-01-01T13:00:00Z", 5)
    early = ("2026-01-01T10:00:00Z", "2026-01-01T11:00:00Z", 7)
    path.write_text("".join(CONTACTS.format(*each) for each in (late, early)))
    assert [window.bytes for window in read_toml(path, AgentSettings).scheduler.contacts] == [7, 5]


def test_window_of_no_length_is_refused():
    with pytest.raises(ValidationError, match="is not after opens"):
        window(10, 10)
