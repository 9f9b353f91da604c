from edge.flood_guard import FloodGuard


def read_all(guard, now_s, most=10_000):
    count = 0
    while count < most and guard.allows(now_s):
        guard.note_read()
        count += 1
    return count


def test_flood_is_held_to_a_rate_and_told_once():
    guard, begun = FloodGuard(0.0), 0
    for _ in range(2000):
        if guard.allows(0.0):
            begun += guard.note_read()
    assert begun == 1
    assert [read_all(guard, second) for second in (1.0, 2.0, 3.0)] == [200, 200, 200]


def test_answers_to_what_we_sent_are_no_flood():
    guard = FloodGuard(0.0)
    for _ in range(50_000):
        guard.note_sent()
        for _ in range(2):
            assert guard.allows(0.0)
            assert not guard.note_read()


def test_second_flood_after_a_calm_is_told_again():
    guard = FloodGuard(0.0)
    told = 0
    for begin_s in (0.0, 100.0):
        for _ in range(2000):
            if guard.allows(begin_s):
                told += guard.note_read()
    assert told == 2
