"""The folder of a sweep, and how a sweep is found by name."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from fer_bench.core.errors import SpecError, nearest, require
from fer_bench.core.files import read_each, write_atomically
from fer_bench.core.schema import schema_error
from fer_bench.store.compact import COMPACT, read_compact, write_compact
from fer_bench.store.folder import RunFolder
from fer_bench.store.frame import to_frame
from fer_bench.store.records import Record, read_records, run_state
from fer_bench.sweep.plan import Plan

if TYPE_CHECKING:
    import pandas as pd

# --- the folder of a sweep ----------------------------------------------------------------------------------------


def sweep_folder(out: Path, name: str) -> Path:
    return out / "sweeps" / folder_name(name)


def folder_name(name: str) -> str:
    """``--name`` as it is. SpecError unless it is the name of one folder."""
    one = name == PurePath(name).name and name not in ("", "..") and name.isprintable()
    require(one, f"--name {name!r}: a name, not a path")
    return name


def save_sweep(plan: Plan, out: Path, name: str, command: str) -> None:
    """Writes ``sweep.json``: which runs belong to the sweep, what was skipped, and the command that asked for it."""
    file = sweep_folder(out, name) / "sweep.json"
    runs = [str(RunFolder.of(Path(), run.spec).path) for run in plan.runs]
    content = {
        "name": name,
        "command": command,
        "runs": runs,
        "names": {Path(path).name: run.spec.name for path, run in zip(runs, plan.runs, strict=True)},
        "skipped": list(plan.skipped),
        "classes": {plan.dataset.name: list(plan.dataset.classes)},
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    write_atomically(file, json.dumps(content, indent=1).encode())


@dataclass(frozen=True)
class Sweep:
    """A sweep as it is stored."""

    name: str
    folder: Path
    content: dict[str, Any]

    def __post_init__(self) -> None:
        """SpecError for content that is damaged or leads out of the folder of results."""
        content = self.content
        for name, nothing in (("names", {}), ("skipped", []), ("classes", {}), ("command", "")):
            content.setdefault(name, nothing)  # older versions did not write all of them
        shape = {"runs": [str], "skipped": [str], "command": str, "names": {}, "classes": {}}
        wrong = schema_error(content, shape, "it")
        wrong = wrong or schema_error(list(content["names"].values()), [str], "names")
        wrong = wrong or schema_error(list(content["classes"].values()), [[str]], "classes")
        require(not wrong, wrong)
        for path in content["runs"]:
            parts = PurePath(path).parts
            require(len(parts) == 4 and parts[0] == "runs" and ".." not in parts, f"{path!r} is no folder of a run")

    @property
    def out(self) -> Path:
        """Folder of the results, which holds ``runs`` and ``sweeps``."""
        return self.folder.parent.parent

    @cached_property
    def runs(self) -> list[RunFolder]:
        """Folders of the runs, in the order of the sweep. They need not exist."""
        return [RunFolder(self.out / path) for path in self.content["runs"]]

    @property
    def classes(self) -> dict[str, tuple[str, ...]]:
        """Class names by data set."""
        return {name: tuple(values) for name, values in self.content["classes"].items()}

    def records(self) -> list[Record]:
        """The finished runs that can be read, in the order of the sweep. They are read on the first call only.

        A run whose folder is not on this machine comes from the sweep's compact file, if that holds it.

        Raises:
            StoreError: The compact file is needed and damaged.
        """
        return self._records

    @cached_property
    def _records(self) -> list[Record]:
        done = [folder for folder in self.runs if (folder.path / "final.json").exists()]
        found = {record.folder: record for record in (*self._compact.values(), *read_records(done)[0])}
        return [found[folder] for folder in self.runs if folder in found]

    @cached_property
    def _compact(self) -> dict[str, Record]:
        """Records of the compact file, by path, of runs without a folder here."""
        missing = {name for name in self.content["runs"] if not (self.out / name).exists()}
        return read_compact(self.folder / COMPACT, self.out, missing) if missing else {}

    def save_records(self) -> None:
        """Writes the compact file if all runs of the sweep are finished and can be read."""
        if self.runs and len(self.records()) == len(self.runs):
            write_compact(self.folder / COMPACT, self.records(), self.out)

    def finished(self) -> pd.DataFrame:
        """One row for each of :meth:`records`, with the columns of ``fer_bench.load_runs``."""
        return to_frame(self.records())

    def states(self) -> list[tuple[str, str]]:
        """State and reason of each run, in the order of the sweep. Each call looks at all run folders."""
        states = read_each(run_state, self.runs)
        return [
            ("done", "") if state == "new" and name in self._compact else (state, why)
            for name, (state, why) in zip(self.content["runs"], states, strict=True)
        ]

    def unfinished(self, states: Sequence[tuple[str, str]] | None = None) -> list[str]:
        """A line for each run that is not done or cannot be read, and for each method that was skipped; ``states`` if
        they are known."""
        lines = [f"skipped: {reason}" for reason in self.content["skipped"]]
        for folder, (now, reason) in zip(self.runs, states or self.states(), strict=True):
            if now != "done":
                name = self.content["names"].get(folder.path.name, folder.path.name)
                lines.append(f"{name}: {now}" + (f": {reason}" if reason else ""))
        return lines


def find_sweep(out: Path, name: str | None) -> Sweep:
    """A sweep by name or by the path of its folder, the newest one without a name. SpecError lists what there is."""
    if name and Path(name).name != name:
        folder = Path(name)
        require((folder / "sweep.json").is_file(), f"no sweep at {folder}: it has no sweep.json")
        folder = folder if folder.parent.name == "sweeps" else folder.resolve()
        out, name = folder.parents[1], folder.name
    files = {path.parent.name: path for path in (out / "sweeps").glob("*/sweep.json")}
    require(bool(files), f"no sweep in {out / 'sweeps'}; `fer-bench run` makes one")
    if name is None:
        name = max(files, key=lambda key: files[key].stat().st_mtime)
    require(name in files, f"no sweep {name!r} in {out / 'sweeps'}{nearest(name, files)}")
    try:
        content = json.loads(files[name].read_text())
        require(isinstance(content, dict), "it is no object")
        return Sweep(name, files[name].parent, content)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{files[name]} is damaged: {error}; run the sweep's command again") from None
