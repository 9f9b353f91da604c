"""The seed that commands take: all of them take the same ones, so that what one flew another can render."""

from __future__ import annotations

from sim.errors import OptionError

MAX_SEED = 2**31 - 1


def parse_seed(text: str) -> int:
    """The number in a seed.

    Raises:
        OptionError: it is none.
    """
    if not (text.isascii() and text.isdigit() and int(text) <= MAX_SEED):
        raise OptionError(f"--seed {text!r} is not a whole number from 0 to {MAX_SEED}; give one, for example --seed 7")
    return int(text)
