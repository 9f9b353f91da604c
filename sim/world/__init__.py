"""A seeded procedural town, seen from the air in visible light or heat.

Start at `layout.py` (a town as data), then `plan.py` and `town.py` (how one is drawn at random), `models.py`,
`buildings.py`, `debris.py` and `novel.py` (what things look like), and `render.py` (how a frame is painted, with
`ground.py`, `lighting.py`, `batch.py` and `sensor.py`).
"""

from sim.world.layout import Label, Look, Sun, Thing, TownStyle, World
from sim.world.novel import HELD_OUT_KINDS, TRAINING_KINDS, novel_object
from sim.world.render import Renderer
from sim.world.seeds import rng_for
from sim.world.town import build_town
from sim.world.truth import TruthObject

__all__ = [
    "HELD_OUT_KINDS",
    "TRAINING_KINDS",
    "Label",
    "Look",
    "Renderer",
    "Sun",
    "Thing",
    "TownStyle",
    "TruthObject",
    "World",
    "build_town",
    "novel_object",
    "rng_for",
]
