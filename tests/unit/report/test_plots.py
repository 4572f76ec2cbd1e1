"""Figures from finished runs: which are drawn, that they hold something, and that nothing leaks into the caller."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from fer_bench.core.spec import Imbalance, Noise, Recipe
from fer_bench.report.arrange import arrange
from fer_bench.report.plots import figures as plots
from fer_bench.report.plots import style as figures
from tests.helpers.runs import CLASSES, CLEAN, HUMAN, NOISY, RECIPE, arranged, finish, records

pytestmark = pytest.mark.filterwarnings("error")  # matplotlib warns where a layout collapses


def names(paths: list[Path]) -> set[str]:
    return {path.stem for path in paths}


@pytest.mark.slow
def test_a_joint_sweep_has_every_figure(tmp_path: Path) -> None:
    for method in ("alpha $x$ <script>", "beta"):
        for factor in (1.0, 10.0):
            for noise in (CLEAN, NOISY):
                for seed in range(2):
                    finish(tmp_path, method, noise, Imbalance("exp", factor), seed=seed)
    before = dict(mpl.rcParams), mpl.get_backend()
    paths = plots.write(arranged(tmp_path), tmp_path / "report")
    assert (dict(mpl.rcParams), mpl.get_backend()) == before
    conditions = ("clean", "clean-exp-10", "symmetric-0.2", "symmetric-0.2-exp-10")
    assert names(paths) == {
        *("noise", "noise-exp-10", "imbalance-clean", "imbalance-symmetric-0.2", "curves", "curves-exp-10"),
        *("overall-symmetric-noise-and-imbalance", "mean-symmetric-noise-and-imbalance"),
        *(f"{kind}-{condition}" for kind in ("recall", "confusion") for condition in conditions),
    }
    assert {path.suffix for path in paths} == {".png", ".pdf"}
    assert all(path.parent == tmp_path / "report" for path in paths)
    for path in paths:
        if path.suffix == ".png":
            pixels = np.asarray(Image.open(path).convert("RGB"))
            assert min(pixels.shape[:2]) > 200
            assert 0.01 < (pixels < 250).any(2).mean() < 0.95, f"{path.name} is blank or full"
        else:
            assert path.read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("classes", [2, 3, 8])
def test_one_run_has_no_sweep(classes: int, tmp_path: Path) -> None:
    finish(tmp_path, "alpha", NOISY, size=classes)
    called = {"faces": (*CLASSES, "contempt")[-classes:]}
    paths = plots.write(arrange(records(tmp_path), called), tmp_path / "report")
    assert names(paths) == {"recall-symmetric-0.2", "confusion-symmetric-0.2", "curves"}


def test_one_epoch_has_no_curve(tmp_path: Path) -> None:
    finish(tmp_path, "alpha", CLEAN, recipe=Recipe(epochs=1))
    assert "curves" not in names(plots.write(arranged(tmp_path), tmp_path / "report"))


def test_points_are_the_means_and_every_seed(tmp_path: Path) -> None:
    for noise in (CLEAN, NOISY, Noise("symmetric", 0.4), HUMAN):
        for seed in range(3):
            finish(tmp_path, "alpha", noise, seed=seed)
    runs = arranged(tmp_path)
    frame = runs.frame
    (name, figure), *others = plots.against_noise(runs)
    assert name == "noise" and not others
    overall, _, memorised = figure.axes
    line = next(each for each in overall.lines if len(each.get_xdata()) == 3)
    swept = frame[frame.noise_kind != "human"]
    assert line.get_xdata() == pytest.approx([0, 20, 40])
    assert line.get_ydata() == pytest.approx(100 * swept.groupby("realised_rate")["test_overall"].mean().to_numpy())
    dots = overall.collections[0].get_offsets()
    assert sorted(dots[:, 1]) == pytest.approx(sorted(100 * swept["test_overall"]))
    hollow = next(each for each in overall.lines if each.get_markerfacecolor() == "white")
    assert hollow.get_xdata() == pytest.approx([28])
    assert min(memorised.lines[0].get_xdata()) == pytest.approx(20), "clean labels are not 0 % memorised"


def test_only_wrong_free_or_single_noise_draws_no_sweep(tmp_path: Path) -> None:
    finish(tmp_path, "alpha", HUMAN)
    assert not list(plots.against_noise(arranged(tmp_path)))
    finish(tmp_path, "alpha", CLEAN)
    assert len(list(plots.against_noise(arranged(tmp_path)))) == 1


def test_two_kinds_of_noise_are_two_rows_with_the_same_colours(tmp_path: Path) -> None:
    for method in ("alpha", "beta"):
        for noise in (CLEAN, NOISY, Noise("pair", 0.2)):
            finish(tmp_path, method, noise)
    runs = arranged(tmp_path)
    ((_, figure),) = plots.against_noise(runs)
    assert len(figure.axes) == 6
    assert [handle.get_color() for handle in figure.legends[0].legend_handles] == [
        figures.looks(runs.rows)[row]["color"] for row in ("alpha", "beta")
    ]


def test_looks_of_many_methods_differ() -> None:
    rows = [f"m{k}" for k in range(19)]
    looks = figures.looks(tuple(rows))
    assert len({(*look["color"], look["marker"], str(look["linestyle"])) for look in looks.values()}) == 19


def test_legend_and_titles_stay_inside_the_figure(tmp_path: Path) -> None:
    for k in range(19):
        for noise in (CLEAN, NOISY):
            finish(tmp_path, f"method_{k}_with_a_long_name", noise, recipe=RECIPE)
    ((_, figure),) = plots.against_noise(arranged(tmp_path))
    figure.draw_without_rendering()
    legend, page = figure.legends[0].get_window_extent(), figure.bbox
    assert page.x0 <= legend.x0 and legend.x1 <= page.x1 and page.y0 <= legend.y0 and legend.y1 <= page.y1
    for ax in figure.axes:
        assert ax.get_window_extent().x1 < legend.x0
    title = figure.get_suptitle()
    assert "label noise" in title
