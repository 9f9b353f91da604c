"""A satellite's day: large GeoTIFF scenes, orbits and passes by SGP4, the real edge and the real cloud.

Reading order: `settings.py` (the file), `plan.py` (when the satellite sees the place and the stations), `scenes.py`
(the GeoTIFFs), `flight.py` (the programs), `score.py` (what was found, on the map), `checks.py` and `figures.py` (how
it is told), `run.py` (all of it in order) and `loader.py` (files and bundled names).
"""
