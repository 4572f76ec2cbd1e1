"""A sweep as it is stored: which runs belong to it, and the command that asked for them."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from fer_bench.core.errors import StoreError, nearest, require
from fer_bench.core.files import read_each, write_atomically
from fer_bench.core.schema import build, schema_error
from fer_bench.core.text import printable, visible
from fer_bench.core.variant import Variant
from fer_bench.store.compact import COMPACT, read_compact, write_compact
from fer_bench.store.folder import RunFolder
from fer_bench.store.frame import to_frame
from fer_bench.store.index import read_runs
from fer_bench.store.lease import TakenOver, hold_folder, owner_of
from fer_bench.store.records import Record, run_state
from fer_bench.sweep.plan import Plan
from fer_bench.sweep.settings import SETTINGS

if TYPE_CHECKING:
    import pandas as pd

SWEEP = "sweep.json"

TABLES = ("table.md", "table.csv", "table.tex", "table.html", "runs.csv")

OUTPUTS = (*TABLES, SETTINGS, "report.html", "plots")
"""What is made of the runs of a sweep. The compact file is not among them: it may hold the only copy of a record."""

SHAPE = {"name": str, "command": str, "created?": str, "runs": [str], "skipped": [str], "names": {}, "classes": {},
         "variants?": {}, "tuning?": {"budget": float, "studies": float}}  # fmt: skip

LONGEST_NAME = 200


@dataclass(frozen=True)
class Sweep:
    """A set of runs under a name.

    Attributes:
        name: Name of the sweep and of its folder.
        folder: ``<out>/sweeps/<name>``.
        content: What ``sweep.json`` holds. ``runs``: paths of the run folders, relative to ``<out>``. ``names``: a line
            for a person for each run, by key. ``skipped``: why methods were left out. ``classes``: class names by data
            set. ``command``: what made the sweep. ``created``: when, in UTC. ``variants``: fields of
            :class:`fer_bench.core.variant.Variant` by key, for runs that have any. ``tuning``: budget and studies,
            only for a tuning.
    """

    name: str
    folder: Path
    content: dict[str, Any]

    def __post_init__(self) -> None:
        """SpecError for content that is damaged or leads out of the folder of results."""
        content = self.content
        wrong = schema_error(content, SHAPE, SWEEP)
        wrong = wrong or schema_error(list(content["names"].values()), [str], "names")
        wrong = wrong or schema_error(list(content["classes"].values()), [[str]], "classes")
        require(not wrong, wrong)
        for path in content["runs"]:
            parts = PurePath(path).parts
            require(len(parts) == 4 and parts[0] == "runs" and ".." not in parts, f"{path!r} is no folder of a run")
        read_variants(content)

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

    @property
    def tuning(self) -> dict[str, Any]:
        """``budget`` and ``studies`` of a tuning; empty for an ordinary sweep."""
        return dict(self.content.get("tuning", {}))

    @cached_property
    def variants(self) -> dict[str, Variant]:
        """What replaces the defaults, by key of the run. A run with the defaults alone is not among them."""
        return read_variants(self.content)

    def records(self) -> list[Record]:
        """The finished runs that can be read, in the order of the sweep. They are read on the first call only.

        A run whose folder is not on this machine comes from the sweep's compact file, if that holds it.

        Raises:
            StoreError: The compact file is needed and damaged.
        """
        return self._records

    @cached_property
    def _records(self) -> list[Record]:
        here, _ = read_runs(self.out, self.content["runs"])
        found = {record.key: record for record in (*self.absent().values(), *here)}
        ordered = [found[folder.path.name] for folder in self.runs if folder.path.name in found]
        return [replace(each, variant=self.variants.get(each.key, each.variant)) for each in ordered]

    def absent(self) -> dict[str, Record]:
        """Records from the compact file, by key, of the runs that have no folder on this machine now.

        Raises:
            StoreError: The compact file is needed and damaged.
        """
        missing = {folder.path.name for folder in self.runs if not folder.path.exists()}
        return {key: self._compact[key] for key in missing if key in self._compact} if missing else {}

    @cached_property
    def _compact(self) -> dict[str, Record]:
        """Records of the compact file, by key. A run without a folder may have got one since."""
        found = read_compact(self.folder / COMPACT, self.out, set(self.content["runs"]))
        return {record.key: record for record in found.values()}

    def finished(self) -> pd.DataFrame:
        """One row for each of :meth:`records`, with the columns of ``fer_bench.load_runs``."""
        return to_frame(self.records())

    def states(self) -> list[tuple[str, str]]:
        """State and reason of each run, in the order of the sweep. Each call looks at the runs without a record."""
        done = {record.folder for record in self.records()}
        return read_each(lambda folder: ("done", "") if folder in done else run_state(folder), self.runs)

    def unfinished(self, states: Sequence[tuple[str, str]] | None = None) -> list[str]:
        """A line for each run that is not done or cannot be read, and for each method that was skipped.

        Args:
            states: Result of :meth:`states` if it is known.
        """
        lines = [f"skipped: {reason}" for reason in self.content["skipped"]]
        for folder, (state, reason) in zip(self.runs, states or self.states(), strict=True):
            if state != "done":
                name = self.content["names"].get(folder.path.name, folder.path.name)
                lines.append(f"{name}: {state}" + (f": {reason}" if reason else ""))
        return lines

    def check_name(self, replace: bool = False) -> None:
        """Checks that the sweep may be saved under its name. A sweep of that name may grow, and is not replaced.

        Args:
            replace: Whether the sweep may take the place of another one that is not being trained.

        Raises:
            SpecError: The sweep of that name has runs that are not in this one, or is being trained.
        """
        other = self._saved()
        if other is None or set(other.content["runs"]) == set(self.content["runs"]):
            return
        what = f"the sweep {self.name} has other runs in {self.out}, made by: {other.content['command']}"
        alive = any((owner := owner_of(folder.path)) and owner.seems_alive for folder in other.runs)
        require(not alive, f"{what}\nThey are being trained; choose another name with --name")
        more = set(self.content["runs"]) > set(other.content["runs"])
        hint = "choose another name with --name, or let this sweep take its place with --replace; no run is deleted"
        require(more or replace, f"{what}\n{hint[0].upper()}{hint[1:]}")

    def save(self) -> None:
        """Writes ``sweep.json``, and removes what was made of a sweep of this name with other runs."""
        other = self._saved()
        if other is None or not set(other.content["runs"]) <= set(self.content["runs"]):
            for name in OUTPUTS:
                path = self.folder / name
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
        write_atomically(self.folder / SWEEP, json.dumps(self.content, indent=1).encode())

    def _saved(self) -> Sweep | None:
        """The sweep that is stored under this name; None if there is none, or a damaged one."""
        try:
            return read_sweep(self.folder)
        except (FileNotFoundError, StoreError):
            return None

    def save_records(self) -> None:
        """Writes the records of what is finished to the compact file. Records that are only there stay there.

        Raises:
            StoreError: The compact file is damaged; it is left as it is.
            Busy: Another process has been writing into the folder of the sweep for minutes.
        """
        records = [record for record in self.records() if not record.absent]
        while records:
            with suppress(TakenOver), hold_folder(self.folder) as claim:
                write_compact(self.folder / COMPACT, self.out, self.content["runs"], records, claim.write)
                return


def read_variants(content: dict[str, Any]) -> dict[str, Variant]:
    """The variants of ``sweep.json`` by key of the run. SpecError where one is damaged."""
    found = content.get("variants", {})
    wrong = schema_error(list(found.values()), [{}], "variants")
    require(not wrong, wrong)
    return {key: build(Variant, values, f"variants: {key}") for key, values in found.items()}


def check_sweep_name(name: str) -> str:
    """The name, if it can be the name of a sweep and of its folder. SpecError says why not."""
    require(bool(name), "--name '': a name is needed")
    plain = name == PurePath(name).name and printable(name) and "\n" not in name and "\t" not in name
    require(plain, f"--name {name!r}: a name is needed, not a path")
    require(name[0] not in ".-", f"--name {name!r}: a name does not begin with '.' or '-'")
    require(len(name.encode()) <= LONGEST_NAME, f"--name {name[:20]!r}…: at most {LONGEST_NAME} bytes")
    return name


def sweep_folder(out: Path, name: str) -> Path:
    """Folder of a sweep. SpecError for a name that cannot be one."""
    return out / "sweeps" / check_sweep_name(name)


def make_sweep(plan: Plan, out: Path, name: str, command: str) -> Sweep:
    """The sweep of a plan, which is not saved yet."""
    runs = [RunFolder.of(Path(), run.spec).path.as_posix() for run in plan.runs]
    content = {
        "name": name,
        "command": visible(command),
        "runs": runs,
        "names": {run.spec.key: run.name for run in plan.runs},
        "skipped": list(plan.skipped),
        "classes": {plan.dataset.name: list(plan.dataset.classes)},
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    variants = {run.spec.key: asdict(run.variant) for run in plan.runs if run.variant != Variant()}
    if variants:
        content["variants"] = variants
    if plan.tuning:
        content["tuning"] = dict(plan.tuning)
    return Sweep(name, sweep_folder(out, name), content)


def read_sweep(folder: Path) -> Sweep:
    """The sweep of a folder.

    Raises:
        FileNotFoundError: There is no ``sweep.json``.
        StoreError: It is damaged.
    """
    file = folder / SWEEP
    try:
        content = json.loads(file.read_bytes())
        return Sweep(folder.name, folder, content)
    except (ValueError, RecursionError) as error:  # SpecError is a ValueError
        raise StoreError(f"{file} is damaged: {error}; run the sweep's command again") from None


def find_sweep(out: Path, name: str | None) -> Sweep:
    """A sweep by name or by the path of its folder; without a name, the newest one.

    Raises:
        SpecError: There is no such sweep; the message lists the nearest names.
        StoreError: Its ``sweep.json`` is damaged.
    """
    if name and Path(name).name != name:
        folder = Path(name)
        require((folder / SWEEP).is_file(), f"no sweep at {folder}: it has no {SWEEP}")
        return read_sweep(folder if folder.parent.name == "sweeps" else folder.resolve())
    files = {path.parent.name: path for path in (out / "sweeps").glob(f"*/{SWEEP}")}
    require(bool(files), f"no sweep in {out / 'sweeps'}; `fer-bench run` makes one")
    if name is None:
        name = max(files, key=lambda key: files[key].stat().st_mtime)
    require(name in files, f"no sweep {name!r} in {out / 'sweeps'}{nearest(name, files)}")
    return read_sweep(files[name].parent)
