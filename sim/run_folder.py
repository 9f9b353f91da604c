"""What lies where in the folder of a run, and how it is made ready."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from sim.errors import OutputError

OWN_FOLDERS = ("flight", "keys", "cloud", "edge", "craft", "logs", "figures")
OWN_FILES = (
    *("report.json", "report.html", "video.mp4", "edge.toml", "cloud.toml", "run.json", "events.jsonl"),
    *("summary.json", "mission.png", "contact.toml"),
)


@dataclass(frozen=True)
class CraftFolder:
    """Where one craft's things are.

    Attributes:
        name: of the craft.
        flight: its rendered frames with their truth.
        edge: its program's output.
        keys: its identity.
        config: its program's settings.
    """

    name: str
    flight: Path
    edge: Path
    keys: Path
    config: Path


@dataclass(frozen=True)
class RunFolder:
    """Where everything of a run is.

    Attributes:
        root: the folder.
        craft: one folder for each craft, in the scenario's order.
    """

    root: Path
    craft: tuple[CraftFolder, ...]

    @classmethod
    def of(cls, root: Path, names: list[str]) -> RunFolder:
        """The layout for some craft; a single one lies in the folder itself."""
        if len(names) == 1:
            only = CraftFolder(names[0], root / "flight", root / "edge", root / "keys" / "edge", root / "edge.toml")
            return cls(root, (only,))
        places = [(name, root / "craft" / name) for name in names]
        return cls(
            root,
            tuple(CraftFolder(name, p / "flight", p / "edge", p / "keys", p / "edge.toml") for name, p in places),
        )

    @property
    def cloud_data(self) -> Path:
        """The cloud's data folder."""
        return self.root / "cloud"

    @property
    def cloud_keys(self) -> Path:
        """The cloud's identity."""
        return self.root / "keys" / "cloud"

    @property
    def cloud_config(self) -> Path:
        """The cloud's settings."""
        return self.root / "cloud.toml"

    @property
    def events(self) -> Path:
        """The event log."""
        return self.root / "events.jsonl"

    def log(self, name: str) -> Path:
        """The log of a program."""
        return self.root / "logs" / f"{name}.log"


def check_free(out: Path, kind: str) -> None:
    """Refuse a folder that holds what an earlier run did not write; nothing is made or removed.

    Raises:
        OutputError: it does, or is no folder.
    """
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out}: is a file; choose a folder for --out")
    if out.is_dir() and not (out / f".skyloop-{kind}").is_file():
        other = next((path.name for path in sorted(out.iterdir())), None)
        if other is not None:
            raise OutputError(
                f"{out}: holds files that are not a {kind}'s ({other}); choose an empty folder with --out"
            )


def make_ready(out: Path, kind: str, command: str) -> None:
    """An empty folder for a run; what an earlier run of the same command left there is removed.

    Args:
        out: the folder.
        kind: `demo`, `run` or `mission`; names the marker file.
        command: whose folder it is, for the marker's text.

    Raises:
        OutputError: the folder holds something else, or cannot be used.
    """
    marker = f".skyloop-{kind}"
    try:
        out.mkdir(parents=True, exist_ok=True)
        check_free(out, kind)
        for name in OWN_FOLDERS:
            if (out / name).exists():
                shutil.rmtree(out / name)
        for name in OWN_FILES:
            (out / name).unlink(missing_ok=True)
        (out / marker).write_text(f"This folder belongs to {command}, which replaces what is in it.\n")
    except OSError as exc:
        raise OutputError(f"{exc.filename or out}: cannot be used ({exc.strerror}); choose another --out") from exc
