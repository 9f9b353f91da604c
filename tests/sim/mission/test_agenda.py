from sim.mission.agenda import Agenda


def test_actions_happen_in_order_of_time_then_of_entry():
    agenda, told = Agenda(), []
    for time_s, name in [(2.0, "late"), (1.0, "first"), (1.0, "second")]:
        agenda.at(time_s, lambda now_s, name=name: told.append((now_s, name)))
    agenda.run(10.0)
    assert told == [(1.0, "first"), (1.0, "second"), (2.0, "late")]
    assert agenda.now_s == 10.0


def test_run_stops_before_its_end_and_goes_on_later():
    agenda, told = Agenda(), []
    agenda.at(5.0, told.append)
    agenda.run(5.0)
    assert told == []
    agenda.run(6.0)
    assert told == [5.0]


def test_past_action_happens_now():
    agenda, told = Agenda(), []
    agenda.at(3.0, lambda now_s: agenda.at(1.0, told.append))
    agenda.run(9.0)
    assert told == [3.0]
