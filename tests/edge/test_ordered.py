import random

from edge.ordered import Ordered


def test_first_and_last_are_those_of_a_sorted_list():
    rng, ordered, plain = random.Random(1), Ordered(lambda pair: pair), []
    for seq in range(500):
        if plain and rng.random() < 0.4:
            gone = rng.choice(plain)
            plain.remove(gone)
            ordered.remove(gone)
        else:
            pair = (float(rng.randint(0, 5)), seq)
            plain.append(pair)
            ordered.add(pair)
        assert (list(ordered), len(ordered)) == (sorted(plain), len(plain))
        assert (ordered.first, ordered.last) == (min(plain, default=None), max(plain, default=None))


def test_removing_what_is_not_there_changes_nothing():
    ordered = Ordered(lambda pair: pair)
    ordered.remove((1.0, 1))
    ordered.add((2.0, 2))
    ordered.remove((1.0, 1))
    ordered.remove((3.0, 1))
    assert list(ordered) == [(2.0, 2)]
