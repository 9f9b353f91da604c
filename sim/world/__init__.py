"""A seeded procedural town, seen from the air in visible light or heat.

Start at `sim/world/layout.py` (what is where), then `models.py`, `buildings.py`, `debris.py`, `novel.py` (what things
look like), `ground.py`, `lighting.py`, and `render.py` (how a frame is drawn).
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
