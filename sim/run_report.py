"""`report.html` of a run: every craft's flight on one self-contained page, and its diagrams as PNG files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sim.errors import OutputError
from sim.pages import page_of
from sim.plotting import label_colours
from sim.report import Picture
from sim.run_figures import (
    MAX_STILL_LABELS,
    bytes_figure,
    link_figure,
    loop_figure,
    map_figure,
    power_figure,
    recall_figure,
    still_pictures,
    timeline_figure,
)
from sim.run_story import CraftStory, Happening

_SLOW = 1.1
"""From this slowdown on the page says that the edge did not keep pace."""


@dataclass(frozen=True)
class Section:
    """One diagram of a craft, or why there is none.

    Attributes:
        title: heading.
        picture: None where there is nothing to show.
        nothing: says so in one line.
        is_wide: whether it takes the whole width of the page.
    """

    title: str
    picture: Picture | None
    nothing: str = ""
    is_wide: bool = False


@dataclass(frozen=True)
class CraftPage:
    """What the page shows of one craft.

    Attributes:
        story: of its flight.
        row: its part of `run.json`.
        sections: diagrams.
        stills: frames around the first prompts.
        happenings: by time.
    """

    story: CraftStory
    row: Mapping[str, Any]
    sections: Sequence[Section]
    stills: Sequence[Picture]
    happenings: Sequence[Happening]

    @property
    def pictures(self) -> list[Picture]:
        """All pictures, in the order of the page."""
        return [section.picture for section in self.sections if section.picture is not None] + list(self.stills)

    @property
    def slowdown(self) -> float | None:
        """Seconds needed for each recorded one; None where the edge kept pace."""
        return self.story.record.slowdown if self.story.record.slowdown >= _SLOW else None

    @property
    def unshown_labels(self) -> list[str]:
        """Learned labels that are left without pictures."""
        return self.story.learned[MAX_STILL_LABELS:]


def craft_measures(story: CraftStory) -> dict[str, Any]:
    """What a report adds to a craft's part of `run.json`, so that runs can be compared later."""
    return {
        "slowdown": round(story.record.slowdown, 3),
        "recall": [item.as_json() for item in story.recalls],
        "strays": [asdict(item) for item in story.strays],
        "loops": [[round(at_s, 2), round(ms, 1)] for at_s, ms in story.record.loops()],
        "power": story.power.as_json(),
    }


def craft_page(story: CraftStory, row: Mapping[str, Any], colours: Mapping[str, str] | None = None) -> CraftPage:
    """Everything about one craft, drawn.

    Args:
        story: of its flight.
        row: its part of `run.json`.
        colours: of the labels on the whole page; None is for a page of this craft alone.
    """
    happenings = story.happenings()
    colours = label_colours(story.labels) if colours is None else colours
    link = story.link_words() if not story.link_spans() else f"{story.link_words()} Nothing was counted on it."
    sections = [
        Section("Recall", recall_figure(story, colours), "No label of the truth was reported, and none was taught."),
        Section("Bytes", bytes_figure(story), "Nothing crossed the link."),
        Section("Loop latency", loop_figure(story), "No case was answered with a prompt that came into force."),
        Section("Link", link_figure(story), link),
        Section("Power (estimate)", power_figure(story), is_wide=True),
        Section("Map", map_figure(story, colours), "No pose of any frame was known.", is_wide=True),
        Section("Timeline", timeline_figure(happenings, story), is_wide=True),
    ]
    return CraftPage(story, row, sections, still_pictures(story), happenings)


def render_run_html(report: Mapping[str, Any], pages: Sequence[CraftPage]) -> str:
    """The report as one self-contained page.

    Args:
        report: the content of `run.json`.
        pages: of all craft.
    """
    return page_of("run.html", report=report, pages=pages)


def write_run_report(
    folder: Path,
    report: Mapping[str, Any],
    stories: Sequence[CraftStory],
    on_craft: Callable[[int, str], None] = lambda *_: None,
) -> None:
    """Write `report.html` and `figures/`.

    Args:
        folder: of the run.
        report: the content of `run.json`.
        stories: of all craft.
        on_craft: called with the number of craft drawn, and a word.

    Raises:
        OutputError: the disk is full or the folder is gone.
    """
    pages = []
    colours = label_colours(label for story in stories for label in story.labels)
    for number, story in enumerate(stories, start=1):
        pages.append(craft_page(story, report["craft"][story.name], colours))
        on_craft(number, story.name)
    pictures = [picture for page in pages for picture in page.pictures]
    try:
        (folder / "figures").mkdir(parents=True, exist_ok=True)
        for picture in pictures:
            (folder / "figures" / picture.name).write_bytes(picture.content)
        (folder / "report.html").write_text(render_run_html(report, pages), encoding="utf-8")
    except OSError as exc:
        raise OutputError(f"{folder}: the report cannot be written ({exc.strerror}); free some space") from exc
