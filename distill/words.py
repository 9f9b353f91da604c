"""Class names of other people's data sets in this project's words."""

from __future__ import annotations

SYNONYMS = {
    "car": "Car", "truck": "OtherVehicle", "bus": "OtherVehicle", "minibus": "OtherVehicle", "van": "OtherVehicle",
    "cyclist": "Bicycle", "bicycle": "Bicycle", "person": "Person", "pedestrian": "Person",
}  # fmt: skip


def in_our_words(name: str) -> str:
    """A common name as the bundled models spell it; other names stay as they are."""
    return SYNONYMS.get(name.strip(), name.strip())
