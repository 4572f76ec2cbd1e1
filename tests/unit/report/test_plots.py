"""Figures from finished runs: which are drawn, that they hold something, and that nothing leaks into the caller."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from fer_bench.core.spec import Imbalance, Noise, Recipe
from fer_bench.plugins.described import Described
from fer_bench.report import palette
from fer_bench.report.arrange import Runs, arrange
from fer_bench.report.groups import OTHERS, groups
from fer_bench.report.plots import KINDS, critical_difference, figures, maps, overlay, sketch
from fer_bench.report.plots.dots import ranked
from fer_bench.report.plots.multiples import spots
from fer_bench.report.plots.style import WIDTH, figure_style
from fer_bench.report.statistics import blocks
from tests.helpers.runs import CLASSES, CLEAN, HUMAN, NOISY, RECIPE, arranged, finish, records

pytestmark = pytest.mark.filterwarnings("error")  # matplotlib warns where a layout collapses

MANY = {
    **{f"loss_{k}": Described(f"Loss {k}", family="losses") for k in range(5)},
    **{f"face_{k}": Described(f"Face {k}", family="faces") for k in range(4)},
    "base": Described("Base", baseline=True, family="baseline"),
    "stray": Described("Stray"),
}


def names(paths: Iterable[Path]) -> set[str]:
    return {path.stem for path in paths}


def drawn(runs: Runs, kind: str) -> dict[str, Figure]:
    with figure_style():
        return {each.name: each.draw() for each in figures.sketches(runs, [kind])}


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in (*figure.texts, *(text for ax in figure.axes for text in ax.texts))]


def many(out: Path, *noises: Noise, imbalances: tuple[float, ...] = (1.0,), seeds: int = 1) -> Runs:
    """Runs of more methods than share an axes."""
    for place, method in enumerate(MANY):
        for noise in noises:
            for factor in imbalances:
                for seed in range(seeds):
                    skill = 0.9 - 0.02 * place
                    finish(
                        out, method, noise, Imbalance("exp", factor), seed=seed, skill=skill, recipe=Recipe(epochs=2)
                    )
    return arrange(records(out), {"faces": CLASSES}, MANY)


# --- which figures -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_joint_sweep_has_every_figure(tmp_path: Path) -> None:
    for method in ("alpha $x$ <script>", "beta", "gamma"):
        for factor in (1.0, 10.0):
            for noise in (CLEAN, NOISY):
                for seed in range(2):
                    finish(tmp_path, method, noise, Imbalance("exp", factor), seed=seed)
    before = dict(mpl.rcParams), mpl.get_backend()
    paths = figures.write(arranged(tmp_path), tmp_path / "report")
    assert (dict(mpl.rcParams), mpl.get_backend()) == before
    conditions = ("clean", "clean-exp-10", "symmetric-0.2", "symmetric-0.2-exp-10")
    assert names(paths) == {
        *("accuracy", "noise", "noise-exp-10", "imbalance-clean", "imbalance-symmetric-0.2", "curves", "curves-exp-10"),
        *("overall-symmetric-noise-and-imbalance", "critical-difference-overall"),
        *(f"{kind}-{condition}" for kind in ("recall", "confusion") for condition in conditions),
    } | {name for name in names(paths) if "mean" in name}
    assert {path.suffix for path in paths} == {".png", ".pdf"}
    assert all(path.parent == tmp_path / "report" for path in paths)
    for path in paths:
        if path.suffix == ".png":
            pixels = np.asarray(Image.open(path).convert("RGB"))
            assert pixels.shape[1] == round(WIDTH * 150), "every figure is as wide as a column"
            assert 0.01 < (pixels < 250).any(2).mean() < 0.95, f"{path.name} is blank or full"
        else:
            assert path.read_bytes().startswith(b"%PDF")


def test_kinds_are_those_that_are_drawn() -> None:
    assert tuple(figures.FIGURES) == KINDS


@pytest.mark.parametrize("classes", [2, 3, 8])
def test_one_run_has_no_sweep(classes: int, tmp_path: Path) -> None:
    finish(tmp_path, "alpha", NOISY, size=classes)
    called = {"faces": (*CLASSES, "contempt")[-classes:]}
    paths = figures.write(arrange(records(tmp_path), called), tmp_path / "report")
    assert names(paths) == {"recall-symmetric-0.2", "confusion-symmetric-0.2", "curves"}


def test_one_epoch_has_no_curve(tmp_path: Path) -> None:
    finish(tmp_path, "alpha", CLEAN, recipe=Recipe(epochs=1))
    assert not list(figures.sketches(arranged(tmp_path), ["curves"]))


def test_only_wrong_free_or_single_noise_draws_no_sweep(tmp_path: Path) -> None:
    finish(tmp_path, "alpha", HUMAN)
    assert not list(figures.sketches(arranged(tmp_path), ["noise"]))
    finish(tmp_path, "alpha", CLEAN)
    assert len(list(figures.sketches(arranged(tmp_path), ["noise"]))) == 1


def test_many_rows_under_noise_and_imbalance_have_one_figure_of_each_kind(tmp_path: Path) -> None:
    runs = many(tmp_path, CLEAN, NOISY, imbalances=(1.0, 10.0))
    found = [each.file for kind in ("noise", "imbalance", "joint", "curves") for each in figures.sketches(runs, [kind])]
    without_mean = [name for name in found if "mean" not in name]
    assert without_mean == [
        "noise", "noise-memorised", "imbalance-clean", "overall-symmetric-noise-and-imbalance",
        "curves-symmetric-0.2", "curves-memorised-symmetric-0.2",
    ]  # fmt: skip


def test_two_accuracies_that_are_one_number_are_drawn_once(tmp_path: Path) -> None:
    finish(tmp_path, "alpha", CLEAN)
    runs = arranged(tmp_path)
    assert [metric.name for metric in figures.accuracies(runs)] == ["overall"]
    runs.frame["test_mean"] -= 0.01
    assert [metric.name for metric in figures.accuracies(runs)] == ["overall", "mean"]


# --- what they hold ------------------------------------------------------------------------------------------------


def test_points_are_the_means_and_every_seed(tmp_path: Path) -> None:
    for noise in (CLEAN, NOISY, Noise("symmetric", 0.4), HUMAN):
        for seed in range(3):
            finish(tmp_path, "alpha", noise, seed=seed)
    runs = arranged(tmp_path)
    frame = runs.frame
    ((name, figure),) = drawn(runs, "noise").items()
    assert name == "noise"
    accuracy, memorised = figure.axes
    line = next(each for each in accuracy.lines if len(each.get_xdata()) == 3)
    swept = frame[frame.noise_kind != "human"]
    assert line.get_xdata() == pytest.approx([0, 20, 40])
    assert line.get_ydata() == pytest.approx(100 * swept.groupby("realised_rate")["test_overall"].mean().to_numpy())
    dots = next(each for each in accuracy.collections if len(each.get_offsets()) == 9).get_offsets()
    assert sorted(dots[:, 1]) == pytest.approx(sorted(100 * swept["test_overall"]))
    hollow = next(each for each in accuracy.lines if each.get_markerfacecolor() == "white")
    assert hollow.get_xdata() == pytest.approx([28])
    lines = [line for line in memorised.lines if len(line.get_xdata()) == 2 and min(line.get_xdata()) > 1]
    assert min(lines[0].get_xdata()) == pytest.approx(20), "clean labels are not 0 % memorised"


def test_few_rows_are_named_at_their_lines(tmp_path: Path) -> None:
    for method in ("alpha", "beta"):
        for noise in (CLEAN, NOISY, Noise("pair", 0.2)):
            finish(tmp_path, method, noise)
    ((_, figure),) = drawn(arranged(tmp_path), "noise").items()
    assert len(figure.axes) == 4 and not figure.legends
    for ax in figure.axes:
        assert {text.get_text() for text in ax.texts} == {"alpha", "beta"}


def test_names_are_apart_and_in_the_order_of_their_lines() -> None:
    places = overlay.apart([10, 11, 12, 50], [10, 10, 10, 10])
    assert np.diff(places).min() >= 10 - 1e-9 and places[3] == pytest.approx(50)
    assert places[:3].mean() == pytest.approx(11), "they move as little as possible"


def test_many_rows_have_a_panel_each(tmp_path: Path) -> None:
    runs = many(tmp_path, CLEAN, NOISY)
    figure = drawn(runs, "noise")["noise"]
    found = texts(figure)
    assert {each.name for each in MANY.values()} <= set(found)
    assert {"Baseline", "Robust losses", "Made for facial expressions", OTHERS} <= set(found)
    frame = runs.frame
    means = 100 * frame.groupby("row")["test_overall"].mean()
    assert f"{means['loss_0'] - means['base']:+.1f}" in found
    assert any("dashed: Base" in text and "solid: Loss 0" in text for text in found)


def test_families_begin_a_line_where_their_heading_has_no_room(tmp_path: Path) -> None:
    known = groups(many(tmp_path, CLEAN))
    placed = {spot.row: spot for spot in spots(known, known.rows, 6, 1.1)}
    assert (placed["base"].line, placed["base"].column, placed["base"].family) == (0, 0, "Baseline")
    assert (placed["loss_0"].column, placed["loss_0"].span, placed["loss_1"].family) == (1, 5, "")
    assert (placed["face_0"].line, placed["face_0"].family) == (1, "Made for facial expressions")
    assert placed["stray"].family == OTHERS


def test_a_joint_grid_holds_gains_over_the_baseline(tmp_path: Path) -> None:
    runs = many(tmp_path, CLEAN, NOISY, imbalances=(1.0, 10.0))
    found = texts(drawn(runs, "joint")["overall, symmetric noise and imbalance"])
    cells = 100 * runs.frame.groupby(["row", "noise_rate", "imbalance_factor"])["test_overall"].mean()
    assert f"{cells['base', 0.2, 10]:.1f}" in found
    assert f"{cells['loss_1', 0.2, 10] - cells['base', 0.2, 10]:+.1f}" in found


def test_a_joint_grid_has_one_scale_around_zero_and_a_grey_baseline(tmp_path: Path) -> None:
    runs = many(tmp_path, CLEAN, NOISY, imbalances=(1.0, 10.0))
    figure = drawn(runs, "joint")["overall, symmetric noise and imbalance"]
    fills = [part.get_facecolor() for ax in figure.axes for part in ax.collections]
    assert len(fills) == len(MANY)
    numbers = [text for text in figure.axes[0].texts if text.get_text()[:1] in "+\N{MINUS SIGN}" and text.get_text()]
    colours = np.concatenate(fills[1:])  # cells are drawn in the order of their numbers
    for text, (red, _, blue, _) in zip(numbers, colours, strict=True):
        if abs(float(text.get_text().replace("\N{MINUS SIGN}", "-"))) > 1:
            assert (blue > red) == text.get_text().startswith("+"), "blue is better in every panel"
    assert np.ptp(fills[0][:, :3], axis=1).max() < 0.1, "the baseline has its own numbers, in grey"


@pytest.mark.parametrize("kind", figures.FIGURES)
def test_every_figure_says_how_many_images_there_are(tmp_path: Path, kind: str) -> None:
    sizes = {"train": 900, "val": 100, "test": 200, "held_out": 100, "source": "official"}
    for method, skill in (("ce", 0.6), ("alpha", 0.8), ("beta", 0.9)):
        for noise in (CLEAN, NOISY):
            for factor in (1.0, 10.0):
                for seed in range(2):
                    finish(tmp_path, method, noise, Imbalance("exp", factor), seed=seed, skill=skill,
                           given={"splits": sizes})  # fmt: skip
    for figure in drawn(arranged(tmp_path), kind).values():
        said = " ".join(" ".join(texts(figure)).split())
        assert "900 training, 100 held-out validation and 200 test images" in said


def test_rows_have_the_order_of_the_table_where_a_condition_is_missing(tmp_path: Path) -> None:
    for method, skill in (("low", 0.5), ("high", 0.9), ("middle", 0.7)):
        for noise in (CLEAN, NOISY):
            if (method, noise) != ("high", CLEAN):
                finish(tmp_path, method, noise, skill=skill)
    runs = arranged(tmp_path)
    table = ranked(runs, figures.BY_NAME["overall"])
    assert tuple(table.index) == runs.rows and table.isna().sum().sum() == 1
    turned = ranked(runs.show(runs.rows[::-1], "Sorted."), figures.BY_NAME["overall"])
    assert tuple(turned.index) == runs.rows[::-1]


def test_confusions_of_many_rows_are_the_best_and_the_baseline(tmp_path: Path) -> None:
    runs = many(tmp_path, NOISY)
    found = texts(drawn(runs, "confusion")["confusion symmetric 0.2"])
    shown = [each.name for each in MANY.values() if each.name in found]
    means = runs.frame.groupby("method")["test_overall"].mean().sort_values(ascending=False)
    best = {MANY[key].name for key in list(means.index)[: maps.MATRICES]}
    assert len(shown) == maps.MATRICES < len(MANY) and "Base" in shown
    assert len(best - set(shown)) <= 1


@pytest.mark.slow
def test_ranks_of_many_rows_are_the_best_and_the_baseline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(critical_difference, "MOST", 3)
    runs = many(tmp_path, CLEAN, NOISY, seeds=3)
    table = blocks(runs.tested, "test_overall").rank(axis=1, ascending=False).mean().sort_values()
    found = texts(drawn(runs, "ranks")["critical-difference, overall"])
    labels = [text for text in found if re.search(r"\d\.\d\d ", text)]
    assert {row for row in table.index if any(runs.name(row) in text for text in labels)} == {
        *table.index[:3],
        *runs.baselines,
    }
    notes = " ".join(" ".join(found).split())
    assert f"Of {len(table)} methods, the 3 with the best ranks and the baseline." in notes


def test_everything_is_inside_the_figure(tmp_path: Path) -> None:
    for k in range(8):
        for noise in (CLEAN, NOISY):
            finish(tmp_path, f"method_{k}_with_a_long_name", noise, recipe=RECIPE)
    runs = arranged(tmp_path)
    for kind in ("accuracy", "noise", "recall"):
        for figure in drawn(runs, kind).values():
            figure.draw_without_rendering()
            page = figure.bbox.padded(1)
            named = [text for ax in figure.axes if ax.axison for text in ax.get_yticklabels()]
            for text in (*figure.texts, *(text for ax in figure.axes for text in ax.texts), *named):
                box = text.get_window_extent()
                assert page.x0 <= box.x0 and box.x1 <= page.x1, (kind, text.get_text())
                assert page.y0 <= box.y0 and box.y1 <= page.y1, (kind, text.get_text())


# --- colours -------------------------------------------------------------------------------------------------------


def test_a_colour_follows_the_name() -> None:
    rows = [f"m{k}" for k in range(30)]
    found = palette.places([*rows, "base"], "base")
    assert found["base"] == palette.NEUTRAL and palette.NEUTRAL not in {found[row] for row in rows}
    assert palette.places(reversed(rows)) == {row: found[row] for row in rows}, "not the position"
    assert palette.places(rows[:20]) == {row: found[row] for row in rows[:20]}, "and not the other rows"
    few = palette.places(rows[:8])
    assert sorted(few.values()) == list(range(1, 9)), "few rows share none"


@pytest.mark.parametrize("colours", [palette.LIGHT, palette.DARK])
def test_colours_differ_for_every_kind_of_colour_blindness(colours: tuple[str, ...]) -> None:
    """Distances in CIELAB after the simulation of Machado et al. (2009) at full severity."""
    kinds = {
        "none": np.eye(3),
        "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    }
    rgb = np.array([[int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)] for colour in colours])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    for kind, matrix in kinds.items():
        xyz = np.clip(linear @ np.array(matrix).T, 0, 1) @ to_xyz.T / [0.95047, 1, 1.08883]
        f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
        lab = np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1)
        distances = np.linalg.norm(lab[:, None] - lab[None], axis=-1)[~np.eye(len(lab), dtype=bool)]
        assert distances.min() > 10, kind


# --- what is drawn again -------------------------------------------------------------------------------------------


def test_only_figures_of_other_runs_are_drawn_again(tmp_path: Path) -> None:
    folder = tmp_path / "plots"
    for method in ("alpha", "beta"):
        finish(tmp_path, method, CLEAN)
    kinds = ("accuracy", "recall")
    assert names(figures.write(arranged(tmp_path), folder, kinds)) == {"accuracy", "recall-clean"}
    assert figures.write(arranged(tmp_path), folder, kinds) == []
    finish(tmp_path, "alpha", NOISY)
    assert names(figures.write(arranged(tmp_path), folder, kinds)) == {"accuracy", "recall-symmetric-0.2"}
    (folder / "accuracy.png").unlink()
    assert names(figures.write(arranged(tmp_path), folder, kinds)) == {"accuracy"}
    assert len(figures.write(arranged(tmp_path), folder, ["recall"], redraw=True)) == 4


def test_figures_of_other_runs_are_removed_where_they_are_not_drawn_again(tmp_path: Path) -> None:
    folder = tmp_path / "plots"
    finish(tmp_path, "alpha", CLEAN)
    figures.write(arranged(tmp_path), folder, ["recall", "confusion"])
    (folder / "mine.png").touch()
    finish(tmp_path, "beta", CLEAN)
    figures.write(arranged(tmp_path), folder, ["recall"])
    assert names(folder.glob("*.p??")) == {"recall-clean", "mine"}
    assert set(json.loads((folder / sketch.DRAWN).read_text())) == {"recall-clean"}


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"recall-clean": 1}', '{"../../mine": "x"}'])
def test_a_damaged_note_of_what_was_drawn_is_no_error(content: str, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "plots"
    folder.mkdir(parents=True)
    (tmp_path / "mine.png").touch()
    (folder / sketch.DRAWN).write_text(content)
    finish(tmp_path, "alpha", CLEAN)
    assert names(figures.write(arranged(tmp_path), folder, ["recall"])) == {"recall-clean"}
    assert (tmp_path / "mine.png").exists()
