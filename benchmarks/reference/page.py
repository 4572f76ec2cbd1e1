"""docs/results.md: the sentences of results.md.jinja with tables and numbers from the committed records."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from benchmarks.reference import columns
from benchmarks.reference.columns import Column
from benchmarks.reference.measured import Measured, Tuned, between_devices, gains, trained
from benchmarks.reference.sweeps import references
from benchmarks.reference.validation import PROMISES
from fer_bench.core.errors import require
from fer_bench.core.text import counted
from fer_bench.plugins.registry import Plugin, discover
from fer_bench.report.footnotes import NOISE_RATE
from fer_bench.reproduce import definition
from fer_bench.sweep.record import Sweep

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "results.md"
TEMPLATE = Path(__file__).with_name("results.md.jinja")
WIDTH = 120
MOST_NAMES = 9
"""How many methods without results a sentence names; of more it gives the number."""
TABLES = (columns.table, columns.lines, columns.correlations, columns.rank_correlation, columns.always_ahead)


@dataclass(frozen=True)
class Page:
    """What the template can call. Folders are those of a checkout."""

    out: Path = ROOT / "results"
    plugins: dict[str, Plugin] = field(default_factory=discover)

    def results(self, *names: str) -> Measured:
        """The finished runs of sweeps, together; not ``trained`` if one has none."""
        found = [trained(self.out, name) for name in names]
        return Measured(tuple(found) if all(found) else (), self.plugins)

    def tuning(self, name: str) -> Tuned:
        """The trials of a tuning."""
        return Tuned(self.sweep(name), self.plugins)

    def sweep(self, name: str) -> Sweep:
        """A sweep that has finished runs. SpecError if it has none."""
        found = trained(self.out, name)
        require(found is not None, f"the sweep {name} has no finished runs in {self.out}")
        return found

    def gains(self, table: str, folder: str, data: str) -> dict[float, tuple[Column, Column]]:
        """Measured and published gains by noise rate: :func:`benchmarks.reference.measured.gains`."""
        return gains(definition.load(table, self.plugins), self.out / "reproduce" / folder / "runs.csv", data)

    def made(self, *names: str) -> str:
        """How many runs there are, the commands that made them, and the full tables."""
        return " ".join(self._made(self.sweep(name)) for name in names)

    def _made(self, sweep: Sweep) -> str:
        records, studies = sweep.records(), sweep.tuning.get("studies")
        seeds = len({record.spec["seed"] for record in records})
        n = f"n = {studies} stud{'y' if studies == 1 else 'ies'}" if studies else f"n = {counted(seeds, 'seed')}"
        folder, known = f"../results/sweeps/{sweep.name}", references().get(sweep.name)
        command = f"`{known.shown}`" if known else f"the command in [sweep.json]({folder}/sweep.json)"
        return f"{counted(len(records), 'run')} ({n}) by {command}. [Tables]({folder}/table.md)."

    def sources(self, *names: str) -> str:
        """The sweeps that a table is of, where another section has said how they were made."""
        return f"Runs of {self.names(f'[`{name}`](../results/sweeps/{name}/table.md)' for name in names)}."

    def untrained(self, *names: str) -> str:
        """A line on those of these sweeps that have no finished run; "" if there are none."""
        missing = [references()[name] for name in names if trained(self.out, name) is None]
        if not missing:
            return ""
        what = "; ".join(each.what for each in missing)
        options = " --data-root DATA_ROOT" * any(each.data_root for each in missing)
        command = f"python -m benchmarks.reference run {' '.join(each.name for each in missing)}{options}"
        return f"Not trained yet: {what}. `{command}` does it."

    def still_to_train(self, name: str) -> str:
        """A sentence with the methods that a sweep does not have yet, or with their number; "" if it has all."""
        done = {record.spec["method"] for record in self.sweep(name).records()}
        missing = [key for key in ",".join(references()[name].methods).split(",") if key not in done]
        if len(missing) > MOST_NAMES:
            return f" Not trained yet: {len(missing)} other methods."
        return f" Not trained yet: {self.names(missing)}." if missing else ""

    def made_for(self, condition: str) -> list[str]:
        """Keys of the methods that are made to be better than cross-entropy under this condition."""
        kinds = {key: plugin.load().info.kind for key, plugin in self.plugins.items()}
        return [key for key, kind in kinds.items() if condition in PROMISES.get(kind, ())]

    def misses(self, conditions: list[tuple[str, Column]]) -> list[tuple[str, Column]]:
        """Points that methods are behind cross-entropy where they are made to be ahead, by condition."""
        behind = [(name, column.over().only(self.made_for(name))) for name, column in conditions]
        return [(name, column.only(column.below(0))) for name, column in behind]

    def picture(self, path: str, alt: str) -> str:
        """A plot of a sweep."""
        require((self.out / "sweeps" / path).is_file(), f"{self.out / 'sweeps' / path} is missing: draw it")
        return f"![{alt}](../results/sweeps/{path})"

    def names(self, keys: Iterable[str], column: Column | None = None) -> str:
        """Names of methods: "A, B and C"; with what a column shows of each: "A (81.20), B (79.10) and C (78.00)".

        † marks those that are given the noise rate: an order of methods must say so.
        """
        values = {} if column is None else {key: f" ({cell.text})" for key, cell in column.cells.items()}
        named = {key: self._name(key) for key in keys}
        *most, last = [name + values.get(key, "") for key, name in named.items()] or ["none"]
        return f"{', '.join(most)} and {last}" if most else last

    def _name(self, key: str) -> str:
        if key not in self.plugins:
            return key
        method = self.plugins[key].load()
        return method.info.name + NOISE_RATE * method.needs(method.Config()).noise_rate


def claim(holds: bool, caller: Callable[[], str]) -> str:
    """Sentences that are written by hand, if what they say holds.

    Raises:
        SpecError: It does not hold any more.
    """
    sentence = caller().strip()
    require(holds, f"{TEMPLATE.name}: this does not hold any more, write it again: {sentence}")
    return f"{sentence}\n"


def text(page: Page | None = None) -> str:
    """The page as it should be now."""
    page = page or Page()
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    own = ("gains", "made", "sources", "untrained", "still_to_train", "made_for", "misses", "picture")
    environment.globals.update({name: getattr(page, name) for name in own})
    environment.globals.update(results=cache(page.results), tuning=cache(page.tuning), claim=claim)
    environment.globals.update(between_devices=between_devices)
    environment.globals.update({function.__name__: function for function in TABLES})
    environment.filters["names"] = page.names
    return wrapped(environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render())


def wrapped(page: str) -> str:
    """The page with sentences filled to lines of ``WIDTH``: numbers in them have different lengths."""
    blocks = [block.strip("\n") for block in page.split("\n\n") if block.strip()]
    return "\n\n".join(_wrapped(block) for block in blocks) + "\n"


def _wrapped(block: str) -> str:
    if block.startswith(("|", "#", "![", "```")):
        return block
    items = [item for item in block.replace("\n- ", "\n\n- ").split("\n\n") if item.strip()]
    return "\n".join(
        textwrap.fill(
            " ".join(item.split()),
            WIDTH,
            subsequent_indent="  " * item.startswith("- "),
            break_long_words=False,
            break_on_hyphens=False,
        )
        for item in items
    )


def write() -> None:
    """Writes the page."""
    PAGE.write_text(text(), encoding="utf-8")
