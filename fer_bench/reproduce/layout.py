"""The blocks of a table: its columns beside each other, or its conditions below each other as papers print them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fer_bench.report.chance import SIGN, Count
from fer_bench.report.measures import Metric
from fer_bench.report.rendering import MISSING, Block, Cell
from fer_bench.report.wording import sentence_case
from fer_bench.reproduce.compare import Entry, Place
from fer_bench.reproduce.definition import NO_WEIGHTS, Column, Definition


@dataclass(frozen=True)
class Kind:
    """One kind of number of a cell.

    Attributes:
        name: What a header says of it; "" for what was measured here.
        text: The cell.
        has: Whether an entry has such a number.
    """

    name: str
    text: Callable[[Entry], str]
    has: Callable[[Entry], bool]


@dataclass(frozen=True)
class Layout:
    """What the cells of all blocks have in common.

    Attributes:
        table: The definition.
        wrong: Name of the wrong labels.
        at_chance: Cells with a run that did not learn, and how many there are.
        usual: Number of runs of a cell that is not written into it; 0 writes it into each.
    """

    table: Definition
    wrong: str
    at_chance: Mapping[Place, Count] = field(default_factory=dict)
    usual: int = 0

    def blocks(self, entries: Sequence[Entry]) -> list[Block]:
        """The blocks of every metric."""
        return list(self._by_columns(entries) if self.table.content.layout == "columns" else self._by_lines(entries))

    def measured(self, entry: Entry) -> str:
        """The measured cell; ↓ marks accuracies of runs that did not learn."""
        if entry.slot.reason:
            return "not measured"
        return entry.measured.text(usual=self.usual) + f" {SIGN}" * self._marked(entry)

    def _marked(self, entry: Entry) -> bool:
        return entry.place in self.at_chance and entry.metric.by_epoch and entry.metric.compared

    def published(self, entry: Entry) -> str:
        """The published cell, with the marks of its remarks."""
        if entry.number is None or entry.published is None:
            return MISSING
        sd = entry.number.sd(entry.metric.name)
        return f"{entry.published:.2f}" + ("" if sd is None else f" ± {sd:.2f}") + entry.mark

    # --- the columns of the file as columns ----------------------------------------------------------------------

    def _by_columns(self, entries: Sequence[Entry]) -> Iterator[Block]:
        """For each metric: accuracies of all columns; what differs from published numbers; gains over the baseline."""
        moved = sorted({Path(e.slot.dataset).name for e in entries if e.slot.dataset != e.column.data})
        where = f"; measured on {', '.join(moved)}" if moved else ""
        measured = Kind("", self.measured, lambda entry: True)
        published = Kind("published", self.published, lambda entry: entry.published is not None)
        difference = Kind("", lambda e: _signed(e.difference, e.mark), lambda e: e.difference is not None)
        gain = Kind("", lambda entry: entry.gain.text("+", self.usual), lambda entry: bool(entry.gain.values))
        their_gain = Kind(
            "published", lambda e: _signed(e.published_gain, e.mark), lambda e: e.published_gain is not None
        )
        for metric in dict.fromkeys(entry.metric for entry in entries):
            mine = [entry for entry in entries if entry.metric == metric]
            title = sentence_case(metric.title.format(wrong=self.wrong))
            yield self._block(f"{metric.label(self.wrong)}{where}", mine, (measured, published), bold=True)
            if any(map(difference.has, mine)):
                yield self._block(f"{title}: measured less published", mine, (difference,))
            if any(gain.has(entry) or their_gain.has(entry) for entry in mine):
                yield self._block(f"{gain_title(metric, self.wrong)}{where}", mine, (gain, their_gain))

    def _block(self, title: str, entries: Sequence[Entry], kinds: Sequence[Kind], bold: bool = False) -> Block:
        """Each column of the file with the kinds of numbers that any row has there; the best measured mean is bold."""
        heads: list[str] = []
        cells: dict[str, list[Cell]] = {row.name: [] for row in self.table.rows}
        for place, name in enumerate(self.table.column_names):
            inside = [entry for entry in entries if entry.place[1] == place]
            for kind in kinds:
                if not any(map(kind.has, inside)):
                    continue
                heads.append(f"{name}, {kind.name}" if kind.name else name)
                best = _best(inside) if bold and not kind.name else frozenset()
                for entry in inside:
                    won = entry.row.name in best and not (self._marked(entry) and self.at_chance[entry.place].all)
                    cells[entry.row.name].append(Cell(kind.text(entry), won))
        return Block(title, "Method", tuple(heads), tuple((name, tuple(line)) for name, line in cells.items()))

    # --- conditions as lines -------------------------------------------------------------------------------------

    def _by_lines(self, entries: Sequence[Entry]) -> Iterator[Block]:
        """Accuracies and gains for each metric and measured data set.

        Each block has a published column for every data set of the paper that is measured there.
        """
        panels: dict[tuple[Metric, str], list[Entry]] = {}
        for entry in entries:
            panels.setdefault((entry.metric, entry.slot.dataset), []).append(entry)
        several = len({data for _, data in panels}) > 1
        for (metric, data), members in panels.items():
            yield from self._panel(metric, data, members, several)

    def _panel(self, metric: Metric, dataset: str, entries: Sequence[Entry], several: bool) -> Iterator[Block]:
        labels = list(dict.fromkeys(entry.column.label for entry in entries))
        same = {label: any(e.column.label == label and e.column.data == dataset for e in entries) for label in labels}
        accuracies, gains = [("Measured", "")], [("Measured", "")]
        for label in labels:
            accuracies += [("Published", label)] + [("Difference", label)] * same[label]
            gains.append(("Published", label))
        corner, lines = _lines(entries)

        def block(title: str, columns: list[tuple[str, str]], cell: Callable[[Entry, str], str]) -> Block:
            heads = tuple(kind + (f", {label}" if label and len(labels) > 1 else "") for kind, label in columns)
            rows = []
            for name, members in lines:
                there = [members.get(label) if label else next(iter(members.values())) for _, label in columns]
                texts = [cell(each, kind) if each else MISSING for each, (kind, _) in zip(there, columns, strict=True)]
                rows.append((name, tuple(map(Cell, texts))))
            return Block(title, corner, heads, tuple(rows))

        where = f": {labels[0]}" if several and len(labels) == 1 else ""
        where += "" if all(same.values()) else f"; measured on {Path(dataset).name}"
        yield block(f"{metric.label(self.wrong)}{where}", accuracies, self._accuracy)
        if any(entry.gain.values or entry.published_gain is not None for entry in entries):
            yield block(f"{gain_title(metric, self.wrong)}{where}", gains, _gain)

    def _accuracy(self, entry: Entry, kind: str) -> str:
        if kind == "Difference":
            return _signed(entry.difference, entry.mark)
        return self.measured(entry) if kind == "Measured" else self.published(entry)


def gain_title(metric: Metric, wrong: str) -> str:
    """Heading of the differences from the baseline: a gain where higher is better."""
    title = metric.title.format(wrong=wrong)
    unit = "points" if metric.unit == "%" else metric.unit
    if metric.better > 0:
        return f"Gain over the baseline ({unit} of {title[0].lower()}{title[1:]})"
    return f"Difference from the baseline ({unit} of {title[0].lower()}{title[1:]})"


def _best(entries: Sequence[Entry]) -> frozenset[str]:
    """Rows with the best measured mean of a column; nobody where all are shown as equal or one alone is measured."""
    means = {e.row.name: e.measured.mean for e in entries if e.measured.values}
    sign, digits = entries[0].metric.better, entries[0].metric.digits
    if not sign or len({f"{mean:.{digits}f}" for mean in means.values()}) < 2:
        return frozenset()
    best = max(sign * mean for mean in means.values())
    return frozenset(name for name, mean in means.items() if sign * mean == best)


def _lines(entries: Sequence[Entry]) -> tuple[str, list[tuple[str, dict[str, Entry]]]]:
    """The corner of the block, and the name and the entries by label of each line.

    A name holds those parts of the condition in which the lines differ.
    """
    parts = _conditions(entries)
    grouped: dict[tuple[str, ...], dict[str, Entry]] = {}
    for entry in entries:
        grouped.setdefault((*parts[entry.place[1]], entry.row.name), {})[entry.column.label] = entry
    varied = [len(set(values)) > 1 for values in list(zip(*grouped, strict=True))[:-1]]
    lines = []
    for (*parts_of_name, name), members in grouped.items():
        shown = [text for text, differs in zip(parts_of_name, varied, strict=True) if differs and text]
        lines.append((", ".join([*shown, name]), members))
    return "Condition, method" if any(varied) else "Method", lines


def _conditions(entries: Sequence[Entry]) -> dict[int, tuple[str, ...]]:
    """What a line says of each column, data set aside; size and noise file where columns are one without them."""
    columns = {entry.place[1]: entry.column for entry in entries}
    short = {place: _condition(column) for place, column in columns.items()}
    if len({(columns[place].label, text) for place, text in short.items()}) == len(columns):
        return short
    return {place: (*text, *columns[place].details) for place, text in short.items()}


def _condition(column: Column) -> tuple[str, ...]:
    weights = {NO_WEIGHTS: "no pre-training"}.get(column.weights, column.weights)
    backbone = column.published.get("backbone", column.backbone)
    return (weights, backbone, column.noise.label, column.imbalance_text)


def _gain(entry: Entry, kind: str) -> str:
    return entry.gain.text("+") if kind == "Measured" else _signed(entry.published_gain, entry.mark)


def _signed(value: float | None, mark: str) -> str:
    return MISSING if value is None else f"{value:+.2f}{mark}"
