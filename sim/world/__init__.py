"""Seeded procedural worlds, seen from the air in visible light, heat, six bands or radar echoes.

Start at `settings.py` (what a world can be asked to be) and `layout.py` (a world as data), then `plan.py`, `town.py`
and `landscapes.py` (how one is drawn at random), `catalogue.py` (every kind of object; `models.py`, `machines.py`,
`ships.py`, `aircraft.py`, `objects.py`, `buildings.py`, `debris.py` and `novel.py` draw them), `incidents.py` and
`chase.py` (what happens), and `render.py` (how a frame is painted, with `ground.py`, `lighting.py`, `materials.py`,
`batch.py`, `weather.py` and `sensor.py`).
"""

from sim.world.landscapes import build_world
from sim.world.layout import Label, Look, Sun, Thing, World
from sim.world.novel import HELD_OUT_KINDS, TRAINING_KINDS, novel_object
from sim.world.render import Renderer
from sim.world.seeds import rng_for
from sim.world.settings import WorldSettings
from sim.world.truth import TruthObject, View

__all__ = [
    "HELD_OUT_KINDS",
    "TRAINING_KINDS",
    "Label",
    "Look",
    "Renderer",
    "Sun",
    "Thing",
    "TruthObject",
    "View",
    "World",
    "WorldSettings",
    "build_world",
    "novel_object",
    "rng_for",
]
