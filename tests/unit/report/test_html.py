"""The page of a sweep: what is in it, that nothing in it can do harm, and that a browser shows it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from fer_bench.cli.main import main
from fer_bench.core.errors import SpecError
from fer_bench.core.files import checksum
from fer_bench.core.spec import Imbalance, Noise, RunSpec
from fer_bench.data.open import open_dataset
from fer_bench.plugins.registry import Plugin, discover
from fer_bench.report import html as page
from fer_bench.report import palette
from fer_bench.report.arrange import arrange
from fer_bench.report.html import gallery
from fer_bench.report.html.collect import collect
from fer_bench.report.html.render import embedded, render
from fer_bench.report.html.run_details import FALSE_ALARMS, roc
from fer_bench.report.measures import METRICS, View
from fer_bench.report.shown import Shown
from fer_bench.report.statistics import nemenyi
from fer_bench.report.tables import comparison
from fer_bench.report.trials import outcome
from fer_bench.store.folder import RunFolder
from fer_bench.store.model_selection import MEASURES
from fer_bench.store.records import read_record
from fer_bench.sweep.record import Sweep, find_sweep
from fer_bench.sweep.trials import trials_of
from tests.helpers.plugins import LOSS, plugin_source
from tests.helpers.runs import CLASSES, CLEAN, NOISY, finish

HARM = "<script>alert(1)</script>"
CLOSED = "</script><img src=x onerror=alert(1)>"
VENDOR = Path(page.__file__).with_name("vendor")


def sweep_of(out: Path, name: str = "made", classes: tuple[str, ...] = CLASSES, dataset: str = "faces") -> Sweep:
    """A sweep that holds every run under ``out``."""
    runs = sorted(path.relative_to(out).as_posix() for path in out.glob("runs/*/*/*"))
    content = {
        "name": name, "command": f"fer-bench run {HARM}", "runs": runs, "skipped": [], "created": "",
        "names": {Path(run).name: Path(run).name for run in runs}, "classes": {dataset: list(classes)},
    }  # fmt: skip
    folder = out / "sweeps" / name
    folder.mkdir(parents=True)
    (folder / "sweep.json").write_text(json.dumps(content))
    return find_sweep(out, name)


def replace_arrays(folder: RunFolder, name: str, **arrays: Any) -> None:
    """Other arrays than those that the run was finished with."""
    np.savez(folder.path / name, **arrays)
    replace_sum(folder, name)


def replace_sum(folder: RunFolder, name: str) -> None:
    """The sum of a file that was changed."""
    sums = folder.path / "sums.json"
    content = {**json.loads(sums.read_text()), name: checksum((folder.path / name).read_bytes())}
    sums.write_text(json.dumps(content))


def score(folder: RunFolder, wrong: int = 20, size: int = 100, **more: np.ndarray) -> None:
    """Scores for an invented run: the wrong labels come first, and most of them have low scores."""
    rng = np.random.default_rng(0)
    true = np.arange(size) % len(CLASSES)
    noisy = np.where(np.arange(size) < wrong, (true + 1) % len(CLASSES), true)
    clean = np.where(noisy == true, 1.0, -1.0) + rng.normal(0, 1, size)
    labels = {"noisy_label": noisy, "clean_label": true}
    arrays = {**labels, "clean_score": clean.astype(np.float32), "train_row": np.arange(size)}
    replace_arrays(folder, "scores.npz", **arrays, **more)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """Three methods, clean and noisy, with and without imbalance, two seeds; names that would like to be markup."""
    out = tmp_path_factory.mktemp("page")
    for method in ("alpha", "beta", HARM.replace("/", "")):
        for noise in (CLEAN, NOISY):
            for factor in (1.0, 10.0):
                for seed in range(2):
                    skill = {"alpha": 0.9, "beta": 0.8}.get(method, 0.7)
                    folder = finish(out, method, noise, Imbalance("exp", factor), seed=seed, skill=skill)
                    score(folder, wrong=20 if noise is NOISY else 0)
    return sweep_of(out, classes=(HARM, CLOSED, *CLASSES[2:]))


# --- what is collected ---------------------------------------------------------------------------------------------


def test_rows_have_the_marks_of_the_tables(tmp_path: Path) -> None:
    finish(tmp_path, "alpha", NOISY, told=True, given={"remarks": ["variant x"]})
    finish(tmp_path, "beta", NOISY, given={"ensemble": "mean of two networks"})
    found = collect(sweep_of(tmp_path), {})
    assert {row["name"]: row["signs"] for row in found["rows"]} == {"alpha": "†ᵃ", "beta": "¶"}
    assert [meaning[0] for meaning in found["legend"]] == ["†", "¶", "ᵃ"]


@pytest.mark.slow
def test_cells_are_means_over_seeds(sweep: Sweep) -> None:
    content = collect(sweep, {})
    frame = sweep.finished()
    clean = frame[(frame.method == "alpha") & (frame.noise_kind == "none") & (frame.imbalance_factor == 1)]
    (cell,) = [each for each in content["table"]["last"] if each["row"] == 0 and each["condition"] == 0]
    assert [row["name"] for row in content["rows"]] == ["alpha", "beta", "<script>alert(1)<script>"], "best first"
    assert cell["values"]["overall"][:3] == [
        2, *(pytest.approx(100 * value, abs=1e-7) for value in (clean.test_overall.mean(), clean.test_overall.std()))
    ]  # fmt: skip
    assert "memorised" not in cell["values"], "clean labels leave nothing to memorise"
    gap = 100 * (clean.best_test_overall - clean.test_overall).mean()
    assert cell["values"]["gap"][1] == pytest.approx(gap, abs=1e-7)
    assert content["table"]["best_val"][0]["values"].keys().isdisjoint(MEASURES), "there is no validation split"


@pytest.mark.slow
def test_the_page_says_what_the_table_says(tmp_path: Path) -> None:
    """The same digits and the same bold cells, head and tail and memory with them, and the same ranks."""
    for method, skill in (("alpha", 0.9), ("beta", 0.895), ("gamma", 0.5)):
        for seed in range(7):
            finish(tmp_path, method, NOISY, Imbalance("exp", 10), seed=seed, skill=skill)
    sweep = sweep_of(tmp_path)
    content = collect(sweep, {})
    blocks = comparison(arrange(sweep.records(), sweep.classes), View(metrics=("all",))).blocks
    titles = {block.title: block for block in blocks}
    values = [cell["values"] for cell in content["table"]["last"]]
    headings = {metric: metric.heading("last", "wrong labels") for metric in METRICS}
    compared = [metric for metric in METRICS if headings[metric] in titles and metric.name in values[0]]
    for metric in compared:
        for (_, (shown,)), cell in zip(titles[headings[metric]].rows, values, strict=True):
            _, mean, sd, bold = cell[metric.name]
            text = f"{mean:.{metric.digits}f} ± {sd:.{metric.digits}f}"
            assert (text, bold) == (shown.text, shown.bold), metric.name
    assert len(compared) == 12 and "tail" in values[0]
    assert [cell["overall"][3] for cell in values] == [True, True, False]
    (ranked,) = [block for title, block in titles.items() if title.startswith("Overall accuracy (%), last epoch: all")]
    of_page = {content["rows"][row]["name"]: rank for row, rank in content["ranks"]["last"]["overall"]["ranks"]}
    assert {name: f"{of_page[name]:.2f}" for name in of_page} == {name: cells[1].text for name, cells in ranked.rows}


def test_roc_is_read_off_the_scores(tmp_path: Path) -> None:
    folder = finish(tmp_path, "alpha", NOISY)
    noisy, clean, score = np.array([1, 1, 0, 0]), np.array([0, 0, 0, 0]), np.array([-2.0, 1.0, 0.0, 3.0])
    replace_arrays(folder, "scores.npz", clean_score=score, noisy_label=noisy, clean_label=clean)
    found = roc(read_record(folder))
    assert found is not None
    # suspicion finds one wrong label, then one correct one, then the other wrong one
    at = {float(rate): value for rate, value in zip(FALSE_ALARMS, found, strict=True)}
    assert (at[0.0], found[int(np.searchsorted(FALSE_ALARMS, 0.25))], at[1.0]) == (50, 50, 100)
    replace_arrays(folder, "scores.npz", clean_score=np.zeros(4), noisy_label=clean, clean_label=clean)
    assert roc(read_record(folder)) is None, "without a wrong label there is no curve"


@pytest.mark.slow
def test_groups_are_the_pairs_that_the_test_does_not_tell_apart(tmp_path: Path) -> None:
    for place, method in enumerate(("a", "b", "c", "d")):
        for seed in range(8):
            finish(tmp_path, method, CLEAN, seed=seed, skill=(0.9, 0.895, 0.6, 0.3)[place])
    content = collect(sweep_of(tmp_path), {})
    found = content["ranks"]["last"]["overall"]
    assert found["blocks"] == 8 and found["p"] < 0.05 and content["ranks"]["best_val"] == {}
    frame = sweep_of(tmp_path, "again").finished()
    table = frame.assign(row=frame.method, condition="clean")
    p = nemenyi(table.pivot_table(index=["condition", "data_seed", "seed"], columns="row", values="test_overall"))
    order = [content["rows"][row]["name"] for row, _ in found["ranks"]]
    told = {(first, last) for first, last in ((i, j) for i in range(4) for j in range(i + 1, 4))
            if not any(group[0] <= first and last <= group[1] for group in found["groups"])}  # fmt: skip
    assert told == {(i, j) for i in range(4) for j in range(i + 1, 4) if p.loc[order[i], order[j]] < 0.05} != set()


def test_missing_arrays_are_no_error(tmp_path: Path) -> None:
    folder = finish(tmp_path, "alpha", NOISY)  # its scores hold test logits alone
    content = collect(sweep_of(tmp_path), {})
    assert content["galleries"] == [] and content["runs"][0]["roc"] is None and content["surfaces"] == []
    assert content["folders"]
    (folder.path / "scores.npz").unlink()
    (folder.path / "env.json").unlink()
    assert collect(sweep_of(tmp_path, "again"), {})["runs"][0]["env"] == {}


def test_the_compact_file_gives_the_page_without_arrays(tmp_path: Path) -> None:
    for noise in (CLEAN, NOISY):
        score(finish(tmp_path, "alpha", noise, environment={"device": "Processor A"}))
    sweep = sweep_of(tmp_path)
    whole = collect(sweep, {})
    sweep.save_records()
    shutil.rmtree(tmp_path / "runs")
    compact = collect(find_sweep(tmp_path, sweep.name), {})
    arrays = {"galleries", "pictures", "withheld", "surfaces"}
    for name in whole.keys() - arrays - {"made", "runs", "folders"}:
        assert compact[name] == whole[name], name
    assert compact["runs"] == [{**run, "roc": None} for run in whole["runs"]]
    assert not compact["folders"] and not any(compact[name] for name in arrays)


# --- the first screen ----------------------------------------------------------------------------------------------

KNOWN = {
    key: Plugin(key, Path(__file__).parents[3] / "methods" / f"{key}.py", "built in")
    for key in ("ce", "nla", "coteaching")
}


def seeds_of(out: Path, count: int, **skills: float) -> Sweep:
    for method, skill in skills.items():
        for seed in range(count):
            finish(out, method, NOISY, seed=seed, skill=skill, given={"seconds": 50.0 * (1 + (method == "nla"))})
    return sweep_of(out)


def facts(sweep: Sweep) -> dict[str, tuple[str, str]]:
    found = collect(sweep, KNOWN)["answer"]
    return {fact.question: (fact.short, fact.text) for fact in found.facts}


def test_the_first_screen_answers_the_four_questions(tmp_path: Path) -> None:
    sweep = seeds_of(tmp_path, 8, ce=0.6, nla=0.9, coteaching=0.75)
    means = 100 * sweep.finished().groupby("method")["test_overall"].mean()
    found = facts(sweep)
    assert found["Who wins?"] == ("NLA", f"{means['nla']:.1f} % overall accuracy, the best mean over 8 blocks.")
    short, text = found["By how much?"]
    assert short == f"{means['nla'] - means['ce']:+.2f} points" and "over Cross-entropy [" in text
    assert f"{means['nla'] - means['coteaching']:+.2f} over Co-teaching, the second." in text
    assert (
        found["Is it significant?"][0] == "Yes" and "Against Cross-entropy: p = 0.0" in found["Is it significant?"][1]
    )
    assert found["At what cost?"] == (
        "1.0× the images", "of Cross-entropy forward, 1.0× backward.",
    )  # fmt: skip


def test_the_first_screen_claims_no_more_than_the_tests(tmp_path: Path) -> None:
    few = seeds_of(tmp_path / "few", 2, ce=0.6, nla=0.9)
    assert facts(few)["Is it significant?"] == ("Too few runs", "2 blocks cannot be tested; 6 are needed.")
    tied = seeds_of(tmp_path / "tied", 8, ce=0.6, nla=0.9, coteaching=0.899)
    short, text = facts(tied)["Is it significant?"]
    assert short == "Not over 1 method" and "Not significantly worse:" in text and "one draw of the data" in text
    alone = facts(seeds_of(tmp_path / "alone", 8, ce=0.9, nla=0.5))
    assert alone["By how much?"][1] == "over NLA, the second." and alone["At what cost?"][0] == "50 s a run"


def test_the_first_screen_names_what_a_winner_was_given_and_who_is_first_where(tmp_path: Path) -> None:
    for method, noise, skill in (("ce", CLEAN, 0.9), ("ce", NOISY, 0.5), ("nla", CLEAN, 0.8), ("nla", NOISY, 0.8)):
        finish(tmp_path, method, noise, skill=skill, told=method == "nla")
    question, short, text = collect(sweep_of(tmp_path), KNOWN)["answer"].facts[0]
    assert (question, short) == ("Highest mean (not tested)", "NLA†") and "† is given the true noise rate." in text
    assert text.endswith("First by condition: Cross-entropy (clean); NLA† (symmetric 0.2).")


def test_one_method_has_no_first_screen(tmp_path: Path) -> None:
    content = collect(seeds_of(tmp_path, 2, ce=0.6), KNOWN)
    assert content["answer"] is None and "Who wins?" not in render(content)


def test_lines_of_the_first_screen_are_by_family_and_have_the_colours_of_plots(tmp_path: Path) -> None:
    sweep = seeds_of(tmp_path, 8, nla=0.9, ce=0.6, coteaching=0.75)
    content = collect(sweep, KNOWN)
    families = content["answer"].families
    assert list(families) == ["Baseline", "Made for facial expressions", "Sample selection"], "the best first"
    (line,) = families["Made for facial expressions"]
    assert line.best and line.share == 100 and line.p == "0.016" and line.cost == ("1.0×", "1.0×")
    place = palette.places(("ce", "nla", "coteaching"), "ce")["nla"]
    assert (line.light, line.dark) == (palette.LIGHT[place], palette.DARK[place])
    (row,) = [row for row in content["rows"] if row["method"] == "nla"]
    assert row["colour"] == place and row["family"] == "Made for facial expressions" and row["name"] == "NLA"
    text = render(content)
    assert text.index("Who wins?") < text.index('id="controls"'), "before any control"


@pytest.mark.slow
def test_a_page_of_some_methods(tmp_path: Path) -> None:
    sweep = seeds_of(tmp_path, 8, ce=0.6, nla=0.9, coteaching=0.75)
    few = collect(sweep, KNOWN, shown=Shown(only=("coteaching", "ce"), sort="name"))
    assert [row["name"] for row in few["rows"]] == ["Co-teaching", "Cross-entropy"]
    assert few["answer"].facts[0].short == "Co-teaching", "the others are as if they had not been run"
    assert "Sorted by name." in few["notes"]
    top = collect(sweep, KNOWN, shown=Shown(sort="seconds", top=1))
    assert [row["name"] for row in top["rows"]] == ["Cross-entropy"]
    assert top["caption"].startswith("Test results of 1 of 3")
    assert top["answer"].facts[0].short == "NLA", "rows that are not shown are still compared"
    assert [line.name for lines in top["answer"].families.values() for line in lines] == ["Cross-entropy (baseline)"]
    everything = collect(sweep, KNOWN)["ranks"]["last"]["overall"]
    found = top["ranks"]["last"]["overall"]
    assert found["blocks"] == 8 and found["ranks"] == [[0, 3.0]] and everything["ranks"][-1] == [2, 3.0]


def test_the_command_takes_methods_and_order(tmp_path: Path) -> None:
    sweep = seeds_of(tmp_path, 2, ce=0.6, nla=0.9)
    call = ["report", sweep.name, "--out", str(tmp_path), "--to", str(tmp_path / "page.html")]
    made = CliRunner().invoke(main, [*call, "--only", "ce"])
    assert made.exit_code == 0 and "1 methods" not in (text := (tmp_path / "page.html").read_text())
    assert '"method":"nla"' not in text and '"method":"ce"' in text
    wrong = CliRunner().invoke(main, [*call, "--sort", "overal"])
    assert wrong.exit_code == 2 and "did you mean 'overall'" in wrong.output


# --- tunings -------------------------------------------------------------------------------------------------------


@pytest.fixture
def tuned() -> Sweep:
    return find_sweep(Path(__file__).parents[3] / "results", "tune-quick")


@pytest.mark.slow
def test_a_tuning_has_a_part_for_each_setting(tuned: Sweep) -> None:
    content = collect(tuned, KNOWN)
    parts = {each["key"]: each["part"] for each in content["settings"]}
    assert list(parts) == ["default", "tuned", "oracle"] and content["setting"] == "tuned"
    names = [[row["name"] for row in part["rows"]] for part in parts.values()]
    assert names[0] == names[1] == names[2] and "NLA" in names[0]
    gaps = {line["name"]: line["values"] for line in content["tuning"]["lines"]}
    for method, trials in trials_of(tuned).items():
        found = outcome(trials)
        expected = [100 * trial.score("test") for trial in found.columns if trial]
        assert gaps[KNOWN[method].described.name if method in KNOWN else method] == pytest.approx(expected, abs=1e-3)
    default, chosen, best = np.mean(list(gaps.values()), axis=0)
    assert f"{default:.1f} % with default settings, {chosen:.1f} % as tuned" in content["tuning"]["text"]
    assert f"{best:.1f} % for the oracle" in content["tuning"]["text"]
    text = render(content)
    assert text.count("Highest mean (not tested)") == 3 and text.count(" hidden>") == 4, (
        "the other two are hidden, with what they are"
    )
    with pytest.raises(SpecError, match="unknown method 'nobody'"):
        collect(tuned, KNOWN, shown=Shown(only=("nobody",)))


# --- several sweeps ------------------------------------------------------------------------------------------------


def test_several_sweeps_have_an_index_that_compares_them(tmp_path: Path) -> None:
    first = seeds_of(tmp_path / "a", 2, ce=0.6, nla=0.9, coteaching=0.75)
    second = seeds_of(tmp_path / "b", 2, ce=0.7, nla=0.8)
    paths = list(page.write_site([first, second], tmp_path / "site", KNOWN))
    assert [path.name for path in paths] == ["sweep-made.html", "sweep-made~2.html", "index.html"]
    text = (tmp_path / "site" / "index.html").read_text()
    links = re.findall(r'href="(.*?)"', text)
    assert {unquote(link) for link in links} == {"sweep-made.html", "sweep-made~2.html"}
    assert 'href="index.html"' in paths[0].read_text()
    means = 100 * second.finished().groupby("method")["test_overall"].mean()
    assert f"{means['nla']:.2f} <small>{means['nla'] - means['ce']:+.2f}</small>" in text
    lines = {
        name: re.findall(r"<td.*?>(.*?)</td>", line)
        for name, line in re.findall(r"</i>(.*?)</th>(.*?)</tr>", text, re.S)
    }
    assert lines["Co-teaching"][1:] == ["–", ""], "it is not in the second sweep"
    assert "fer-bench run" in text and "◊</td>" not in text
    assert (lines["NLA"][-1], lines["Cross-entropy"][-1]) == ("1.0", "2.0"), "among those that are in both"


def test_methods_have_one_row_across_sweeps_with_a_mark_at_searched_settings(tmp_path: Path) -> None:
    default = seeds_of(tmp_path / "a", 1, ce=0.6, nla=0.9)
    searched = seeds_of(tmp_path / "b", 1, ce=0.6, nla=0.9)
    file = searched.folder / "sweep.json"
    variants = {run.key: {"note": "s.toml"} for run in searched.records()}
    file.write_text(json.dumps({**searched.content, "variants": variants}))
    list(page.write_site([default, find_sweep(tmp_path / "b", "made")], tmp_path / "site", KNOWN))
    text = (tmp_path / "site" / "index.html").read_text()
    (line,) = re.findall(r"</i>NLA</th>(.*?)</tr>", text, re.S)
    first, second, rank = re.findall(r"<td.*?>(.*?)</td>", line)
    assert "◊" not in first and "◊" in second and rank


def test_a_sweep_without_the_methods_that_are_asked_for_has_no_page(tmp_path: Path) -> None:
    sweeps = [seeds_of(tmp_path / "a", 2, ce=0.6, nla=0.9), seeds_of(tmp_path / "b", 2, ce=0.7, coteaching=0.8)]

    def pages(*only: str) -> list[str]:
        return [path.name for path in page.write_site(sweeps, tmp_path / "site", KNOWN, shown=Shown(only=only))]

    assert pages("ce") == ["sweep-made.html", "sweep-made~2.html", "index.html"]
    assert pages("cotea*") == ["sweep-made~2.html", "index.html"]
    assert pages("nla", "coteaching") == ["sweep-made.html", "sweep-made~2.html", "index.html"]
    with pytest.raises(SpecError, match="--only: unknown method 'nlb'; did you mean 'nla'"):
        pages("nlb")


def test_command_writes_a_site_or_a_file(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for name in ("one", "two"):
        finish(out, "alpha", NOISY, seed=len(name))
    for name in ("one", "two <b>"):
        sweep_of(out, name)
    made = CliRunner().invoke(main, ["report", "one", "two <b>", "--out", str(out)])
    assert made.exit_code == 0, made.output
    assert sorted(path.name for path in (out / "site").iterdir()) == [
        "index.html",
        "sweep-one.html",
        "sweep-two <b>.html",
    ]
    text = (out / "site" / "index.html").read_text()
    assert "two <b>" not in text and "sweep-two%20%3Cb%3E.html" in text
    wrong = CliRunner().invoke(main, ["report", "one", "--out", str(out), "--to", str(out)])
    assert wrong.exit_code == 2 and "1 sweep has a file" in wrong.output


def test_command_names_the_sweeps_without_a_page(tmp_path: Path) -> None:
    first, second = seeds_of(tmp_path / "a", 1, ce=0.6, nla=0.9), seeds_of(tmp_path / "b", 1, ce=0.7)
    folders = [str(sweep.folder) for sweep in (first, second)]
    made = CliRunner().invoke(main, ["report", *folders, "--only", "nla", "--out", str(tmp_path)])
    assert made.exit_code == 0 and made.output.endswith(f"{second.name}: no page, it has none of these methods\n")
    assert [path.name for path in (tmp_path / "site").glob("sweep-*")] == [f"sweep-{first.name}.html"]


# --- weights -------------------------------------------------------------------------------------------------------

WEIGHED = """
@classmethod
def sample_weight(cls, config, epoch, epochs):
    return lambda p_label, p_other: p_label + 10 * p_other + epoch
"""


def weighed(tmp_path: Path, **changes: Any) -> tuple[Sweep, dict[str, Any]]:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "mine.py").write_text(plugin_source(LOSS + WEIGHED))
    plugins = discover([tmp_path / "plugins"])
    for seed, noise in ((0, NOISY), (1, NOISY), (0, CLEAN)):
        score(finish(tmp_path, "mine", noise, seed=seed, config={}, code=plugins["mine"].code, **changes))
    return sweep_of(tmp_path), plugins


def test_any_method_with_the_hook_has_a_surface(tmp_path: Path) -> None:
    sweep, plugins = weighed(tmp_path)
    clean, noisy = collect(sweep, plugins)["surfaces"]
    assert (clean["condition"], noisy["condition"], noisy["same"], noisy["grids"]) == (0, 1, 0, None)
    assert clean["same_code"] and clean["epochs"] == [1, 2, 3, 4, 5, 6] and clean["samples"] == [None] * 6
    grid = np.array(clean["grids"][2], dtype=float)
    size = len(grid)
    assert grid[0, 0] == 2 and grid[0, -1] == 3 and grid[-1, 0] == 12, "p_other goes up, p_label across"
    assert np.isnan(grid[size // 2 + 1, size // 2 + 1]) and np.isfinite(grid[size // 2, size // 2])


def test_samples_lie_where_the_network_saw_them(tmp_path: Path) -> None:
    sweep, plugins = weighed(tmp_path)
    for folder in sweep.runs:
        score(folder, train_logits=np.log(np.full((100, 7), 1 / 7)).astype(np.float16))
        logits = np.zeros((6, 2, 7), dtype=np.float16)
        logits[5, 1] = np.log([0.5, 0.02, 0.02, 0.02, 0.02, 0.02, 0.4])
        if folder.spec and folder.spec["noise"]["kind"] != "none":
            replace_arrays(folder, "probe.npz", rows=np.array([3, 49]), logits=logits)
    clean, noisy = collect(sweep, plugins)["surfaces"]
    assert [each is not None for each in clean["samples"]] == [False] * 5 + [True], "the last epoch has all logits"
    assert noisy["samples"][5]["wrong"] == [1, 0]
    assert noisy["samples"][5]["label"] == pytest.approx([1 / 7, 0.5], abs=2e-3)
    assert noisy["samples"][5]["other"] == pytest.approx([1 / 7, 0.4], abs=2e-3)


@pytest.mark.parametrize("epoch", [0, 3])
def test_hooks_agree_with_training(epoch: int) -> None:
    """What the page draws for NLA is what its training multiplies by."""
    plugin = discover([])["nla"]
    method_class = plugin.load()
    config = method_class.Config()
    method = method_class.__new__(method_class)
    torch.nn.Module.__init__(method)
    method.config = config
    logits = torch.randn(50, 7, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(50) % 7
    probabilities = logits.softmax(1)
    p_label = probabilities.gather(1, labels[:, None]).squeeze(1)
    p_other = probabilities.scatter(1, labels[:, None], -1).max(1).values
    s = 1 - float(np.exp(config.slope * epoch / 10))
    weight = method_class.sample_weight(config, epoch, 10)
    assert torch.equal(weight(p_label, p_other), method.weight(logits, labels, s))


# --- faces ---------------------------------------------------------------------------------------------------------


def test_own_faces_are_shown_most_suspected_first(tmp_path: Path, faces_folder: Path) -> None:
    faces = open_dataset(str(faces_folder))
    faces.decode(48)
    folder = finish(tmp_path, "alpha", NOISY, fingerprint=faces.fingerprint)
    score(folder)
    content = collect(sweep_of(tmp_path), {})
    (shown,) = content["galleries"]
    clean = np.load(folder.path / "scores.npz")["clean_score"]
    assert shown["faces"] == np.argsort(clean)[: gallery.SHOWN].tolist() and shown["score"] == sorted(shown["score"])
    picture = content["pictures"][f"faces/{shown['faces'][0]}"]
    assert picture.startswith("data:image/webp;base64,")
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.split(",")[1]))).convert("RGB"), dtype=float)
    pixels = faces.pixels(48)[shown["faces"][0]].transpose(1, 2, 0)
    assert np.abs(image - pixels).mean() < 15, "it is that face"
    assert collect(sweep_of(tmp_path, "again"), {}, "none")["pictures"] == {}


def test_faces_have_a_suggestion_and_the_agreement_of_methods(tmp_path: Path) -> None:
    logits = np.tile(np.arange(len(CLASSES), dtype=np.float16), (100, 1))
    ids = np.array([f"train/{number}" for number in range(100)])
    for method in ("alpha", "beta"):
        score(finish(tmp_path, method, NOISY), train_logits=logits, train_id=ids)
    folder = finish(tmp_path, "gamma", NOISY)
    score(folder, train_logits=logits)
    arrays = folder.scores()
    replace_arrays(folder, "scores.npz", **{**arrays, "clean_score": -arrays["clean_score"]})
    first, second, last = collect(sweep_of(tmp_path), {})["galleries"]
    assert first["suggested"] == [5 if label == 6 else 6 for label in first["noisy_label"]]
    assert first["id"] == [f"train/{face}" for face in first["faces"]] and last["id"] == []
    assert (
        first["of"] == last["of"] == 3 and set(first["rows"]) == {2} == set(second["rows"]) and set(last["rows"]) == {1}
    )
    score(finish(tmp_path, "delta", NOISY), wrong=30)
    shown = collect(sweep_of(tmp_path, "more"), {})["galleries"]
    assert sorted(each["of"] for each in shown) == [1, 3, 3, 3], "other labels are another group"
    assert min(shown, key=lambda each: each["of"])["suggested"] == []


def test_faces_with_labels_as_given_are_never_called_right(tmp_path: Path) -> None:
    for method, noise, wrong in (("alpha", CLEAN, 0), ("beta", NOISY, 20)):
        score(finish(tmp_path, method, noise, given={"labels": "given"}), wrong=wrong)
    content = collect(sweep_of(tmp_path), {})
    assert [shown["rate"] for shown in content["galleries"]] == [None, 20.0]
    assert [condition["errors_known"] for condition in content["conditions"]] == [False, True]
    clean, noisy = content["labels"]
    assert (clean["rate"], clean["purity"], clean["confusion"]) == (None, [], None) and noisy["rate"] == 20
    assert (content["wrong"], content["one_correct"], content["is"]) == (
        "labels of injected noise", "unchanged label", "given as",
    )  # fmt: skip


def test_licensed_faces_stay_out(tmp_path: Path) -> None:
    score(finish(tmp_path, "alpha", NOISY, dataset="ferplus"))
    sweep = sweep_of(tmp_path, dataset="ferplus")
    content = collect(sweep, {})
    assert content["pictures"] == {} and "licence" in content["withheld"][0] and content["galleries"]
    assert "not in the cache" in collect(sweep, {}, "all")["withheld"][0]
    assert gallery.withheld("synthetic", "own") == gallery.withheld("my-faces", "own") == ""


# --- the file ------------------------------------------------------------------------------------------------------


def test_data_cannot_leave_their_element() -> None:
    values = [HARM, CLOSED, "<!--", "]]>", "&lt;", "\u2028", "é"]
    text = embedded({"values": values})
    assert not re.search("[<>&]", text) and json.loads(text)["values"] == values
    with pytest.raises(ValueError):
        embedded({"value": float("nan")})


@pytest.mark.slow
def test_the_page_names_nothing_outside_itself(sweep: Sweep) -> None:
    text = render(collect(sweep, {}))
    markup = re.sub(r"<script.*?</script>|<style>.*?</style>", "", text, flags=re.S)
    assert not re.search(r"""(src|href)=["'](?!#)""", markup)
    assert HARM not in text and CLOSED not in text and "&lt;script&gt;" in markup
    scripts = re.findall(r"<script>(.*?)</script>", text, flags=re.S)
    policy = re.search(r'Content-Security-Policy" content="(.*?)">', text)
    assert policy and len(scripts) == 3 == policy[1].count("sha256-") and "script-src &#39;unsafe" not in policy[1]


def test_vendored_files_are_the_released_ones() -> None:
    listed = json.loads((VENDOR / "vendor.json").read_text())
    assert {path.name for path in VENDOR.glob("*.js")} == {each["file"] for each in listed}
    for each in listed:
        assert hashlib.sha256((VENDOR / each["file"]).read_bytes()).hexdigest() == each["sha256"]
        assert each["version"] in (VENDOR / each["file"]).read_text(encoding="utf-8")[:300]
        assert "MIT" in (VENDOR / each["licence"]).read_text(encoding="utf-8")


def test_command_writes_the_page_and_says_what_is_missing(tmp_path: Path, sweep: Sweep) -> None:
    def call(*arguments: object) -> Result:
        return CliRunner().invoke(main, ["report", *map(str, arguments)])

    done = call(sweep.name, "--out", sweep.folder.parents[1], "--to", tmp_path / "page.html")
    assert done.exit_code == 0 and "MB" in done.output, done.output
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
    spec = RunSpec("faces", "f" * 64, "alpha", "c" * 64, {}, Noise("none"))
    RunFolder.of(tmp_path, spec).start(spec, {})
    sweep_of(tmp_path, "empty")
    none = call("empty", "--out", tmp_path)
    assert none.exit_code == 1 and "no run of empty is finished" in none.output


# --- in a browser --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window and without a network; the test is skipped where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    binary = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if not binary or not driver:
        pytest.skip("no chromium with chromedriver (Debian: apt install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    made = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    made.set_script_timeout(60)
    yield made
    made.quit()


class Screen:
    """A page in the browser."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def open(self, path: Path, width: int = 1280, dark: bool = False) -> None:
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        for name in ("browser", "performance"):
            self.driver.get_log(name)  # what was before belongs to another page
        self.driver.get(path.as_uri())

    def draw_all(self) -> None:
        """Brings every section into view and waits until it is drawn."""
        for name in self.run("return sections.map((each) => each.id)"):
            self.wait(lambda name=name: self.bring(name))

    def bring(self, name: str) -> bool:
        """Scrolls to a section, which others that are drawn may have moved; whether it is drawn."""
        return self.run(
            "const found = sections.find((each) => each.id === arguments[0]);"
            "found.element.scrollIntoView({behavior: 'instant'}); return found.drawn", name
        )  # fmt: skip

    def wait(self, condition: Callable[[], Any], polls: int = 600) -> Any:
        """Waits for a condition. Polls are counted, not seconds: each takes longer where the browser is slow."""
        for _ in range(polls):
            if found := condition():
                return found
            time.sleep(0.05)
        state = "return sections.map((s) => [s.id, s.seen, s.drawn, s.element.getBoundingClientRect().top])"
        pytest.fail(f"the page did not get there: {self.run(state)} {self.driver.get_log('browser')}")

    def column(self, section: str, place: int) -> list[str]:
        lines = "[...document.querySelectorAll(`#${arguments[0]} tbody tr`)]"
        return self.run(f"return {lines}.map((line) => line.children[arguments[1]].innerText.trim())", section, place)

    def choose(self, field: str, value: str) -> None:
        self.run("document.getElementById(arguments[0]).value = arguments[1]", field, value)
        self.run("document.getElementById(arguments[0]).dispatchEvent(new Event('change'))", field)

    def requests(self) -> list[str]:
        """What was asked for besides the page itself and the data in it."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
        return [url for url in asked if not url.startswith(("data:", "blob:"))]


@pytest.fixture(scope="module")
def written(sweep: Sweep, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return page.write(sweep, tmp_path_factory.mktemp("written") / "page.html")


@pytest.fixture
def shown(browser: Any, written: Path) -> Screen:
    found = Screen(browser)
    found.open(written)
    return found


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False)])
def test_every_section_draws_without_error_or_network(browser: Any, written: Path, width: int, dark: bool) -> None:
    shown = Screen(browser)
    shown.open(written, width, dark)
    shown.draw_all()
    assert shown.driver.get_log("browser") == []
    assert shown.requests() == [written.as_uri()]
    assert shown.run("return document.documentElement.dataset.theme") == ("dark" if dark else "light")
    assert shown.run("return document.documentElement.scrollWidth") <= width, "the page scrolls sideways"
    fits = "(p) => Math.abs(p.querySelector('.main-svg').getBoundingClientRect().width - p.clientWidth) < 2"
    shown.wait(lambda: shown.run(f"return [...document.querySelectorAll('.plot')].every({fits})"))
    plots = shown.run(
        "return [...document.querySelectorAll('main section')].map(s => [s.id, s.querySelectorAll('.main-svg').length])"
    )
    bare = {name for name, count in plots if not count}
    assert bare == {"table", "metrics", "winners", "gallery", "runs", "lacking"}, "there is no baseline for maps"
    lacking = shown.run("return document.getElementById('lacking').innerText")
    assert "Sample weights:" in lacking and "Runs" not in lacking
    assert not shown.run("return document.querySelector('nav a[href=\"#weights\"]')")
    assert shown.run("return document.querySelectorAll('#content script, #content img[src=x]').length") == 0
    assert shown.run("return document.querySelector('#recall svg').textContent").count("<script>alert(1)</script>") == 0
    assert "<img src=x" in shown.run("return document.querySelector('#labels .ytick, #labels').textContent")


def test_a_section_that_fails_says_so_and_leaves_the_others(shown: Screen) -> None:
    shown.run("sections[0].draw = () => { throw new Error('no table today'); }; changed()")
    shown.draw_all()
    assert "cannot be shown: no table today" in shown.run("return document.querySelector('#table').innerText")
    assert shown.run("return document.querySelectorAll('#noise .main-svg').length") > 0
    (entry,) = shown.driver.get_log("browser")
    assert "no table today" in entry["message"]


def test_sections_out_of_view_are_drawn_for_print(shown: Screen) -> None:
    drawn = "return sections.map((each) => each.drawn)"
    assert not all(shown.run(drawn))
    shown.run("window.dispatchEvent(new Event('beforeprint'))")
    assert all(shown.run(drawn))


def test_links_lead_to_sections_that_are_drawn_on_the_way(browser: Any, written: Path) -> None:
    shown = Screen(browser)
    shown.open(written, 390)
    shown.run("document.documentElement.style.scrollBehavior = 'auto'")
    shown.run("document.querySelector('nav a[href=\"#labels\"]').click()")
    time.sleep(1)
    assert 0 <= shown.run("return document.getElementById('labels').getBoundingClientRect().top") < 200


def test_main_table_sorts_and_searches(shown: Screen) -> None:
    means = [float(text.split()[0]) for text in shown.column("table", 1)]
    assert means == sorted(means, reverse=True), "the best comes first"
    header = "return document.querySelectorAll('#table thead th')[1]"
    shown.run(f"({header.removeprefix('return ')}).click()")
    shown.wait(lambda: shown.run(f"{header}.getAttribute('aria-sort')") == "descending")
    shown.run(f"({header.removeprefix('return ')}).click()")
    shown.wait(lambda: shown.run(f"{header}.getAttribute('aria-sort')") == "ascending")
    assert [float(text.split()[0]) for text in shown.column("table", 1)] == sorted(means)
    search = shown.driver.find_element("css selector", "#table input[type=search]")
    search.send_keys("beta")
    shown.wait(lambda: shown.column("table", 0) == ["beta"])


def test_keyboard_alone_sorts_and_switches(shown: Screen) -> None:
    from selenium.webdriver.common.keys import Keys

    body = shown.driver.find_element("tag name", "body")
    body.send_keys(Keys.TAB)
    assert shown.run("return document.activeElement.className") == "skip"
    for _ in range(80):
        shown.driver.switch_to.active_element.send_keys(Keys.TAB)
        if shown.run("return document.activeElement.closest('#table thead th')?.cellIndex === 1"):
            break
    else:
        pytest.fail("the headers of the table cannot be reached with the tab key")
    shown.driver.switch_to.active_element.send_keys(Keys.ENTER)
    sort = "return document.querySelectorAll('#table thead th')[1].getAttribute('aria-sort')"
    shown.wait(lambda: shown.run(sort) == "descending")


def test_methods_are_switched_off_everywhere(shown: Screen) -> None:
    shown.draw_all()
    shown.run("document.querySelector('.chip input[data-row=\"0\"]').click()")
    shown.draw_all()
    assert "alpha" not in shown.column("table", 0) and len(shown.column("table", 0)) == 2
    assert "alpha" not in shown.column("runs", 0)
    names = shown.run("return document.querySelector('#noise .js-plotly-plot').data.map((trace) => trace.name)")
    assert "beta" in names and "alpha" not in names


def test_selection_changes_numbers_and_marks_the_oracle(shown: Screen, sweep: Sweep) -> None:
    frame = sweep.finished()
    mine = frame[(frame.method == "alpha") & (frame.noise_kind != "none") & (frame.imbalance_factor == 1)]
    place = 1 + [each["name"] for each in collect(sweep, {})["conditions"]].index("symmetric 0.2")

    def number() -> float:
        names = shown.column("table", 0)
        return float(shown.column("table", place)[names.index("alpha")].split()[0])

    assert number() == pytest.approx(100 * mine.test_mean.mean(), abs=0.006), "the metric of the first screen"
    shown.choose("metric", "overall")
    assert number() == pytest.approx(100 * mine.test_overall.mean(), abs=0.006)
    assert shown.run("return document.getElementById('oracle').hidden")
    shown.choose("selection", "best_test")
    assert number() == pytest.approx(100 * mine.best_test_overall.mean(), abs=0.006)
    assert mine.best_test_overall.mean() > mine.test_overall.mean()
    assert "an oracle" in shown.run("return document.getElementById('oracle').innerText")
    assert "oracle" in shown.run("return document.querySelector('#table .about').innerText")
    shown.choose("selection", "best_val")
    assert "No run has this metric" in shown.run("return document.querySelector('#table').innerText")
    shown.choose("selection", "last")
    shown.choose("metric", "memorised")
    assert "Memorised" in shown.run("return document.querySelector('#table .about').innerText")


def test_settings_of_a_tuning_are_switched_everywhere(browser: Any, tuned: Sweep, tmp_path: Path) -> None:
    shown = Screen(browser)
    shown.open(page.write(tuned, tmp_path / "page.html"), 390)
    answers = (
        "return [...document.querySelectorAll('.facts')].filter((each) => each.offsetHeight).map((e) => e.innerText)"
    )
    (tuned_answer,) = shown.run(answers)
    shown.wait(lambda: shown.bring("table"))
    tuned_number = shown.column("table", 1)
    shown.run("document.querySelector('#settings input[value=default]').click()")
    (default_answer,) = shown.run(answers)
    assert default_answer != tuned_answer and shown.run("return document.getElementById('oracle').hidden")
    for name in ("tuning", "table"):
        shown.wait(lambda name=name: shown.bring(name))
    assert shown.column("table", 1) != tuned_number and len(shown.column("tuning", 0)) == len(trials_of(tuned))
    shown.run(
        "const s = document.querySelector('#controls select'); s.value = 'oracle'; s.dispatchEvent(new Event('change'))"
    )
    assert shown.run("return document.querySelector('#settings input:checked').value") == "oracle"
    assert "upper bound" in shown.run("return document.getElementById('oracle').innerText")
    assert shown.run("return document.documentElement.scrollWidth") <= 390
    assert shown.driver.get_log("browser") == []


def test_maps_show_what_each_method_gains_where_noise_and_imbalance_meet(browser: Any, tmp_path: Path) -> None:
    for method, skill in (("ce", 0.6), ("nla", 0.8)):
        for noise in (CLEAN, NOISY):
            for factor in (1.0, 10.0):
                finish(tmp_path, method, noise, Imbalance("exp", factor), skill=skill)
    sweep = sweep_of(tmp_path)
    means = 100 * sweep.finished().pivot_table("test_mean", ["noise_rate", "imbalance_factor"], "method")
    shown = Screen(browser)
    shown.open(page.write(sweep, tmp_path / "page.html"))
    shown.wait(lambda: shown.bring("winners"))
    drawn = shown.run("return [...document.querySelectorAll('#winners .js-plotly-plot')].map((p) => p.data[0].z)")
    assert np.allclose(drawn, [(means["nla"] - means["ce"]).to_numpy().reshape(2, 2)], atol=1e-3), (
        "none for the baseline"
    )
    shown.choose("metric", "worst")
    assert shown.wait(lambda: shown.bring("winners")) and shown.driver.get_log("browser") == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_numbers_on_colours_can_be_read(shown: Screen, theme: str) -> None:
    shown.run("setTheme(arguments[0])", theme)
    for colours in ("scale()", "aroundZero()"):
        stops = shown.run(f"return {colours}")
        texts = shown.run(f"return [...Array(101).keys()].map((k) => readable({colours}, k / 100))")
        for share, text in zip(np.linspace(0, 1, 101), texts, strict=True):
            ground = [
                np.interp(share, *zip(*((end, each[k]) for end, each in stops_of(stops)), strict=True))
                for k in range(3)
            ]
            assert contrast(ground, rgb(text)) >= 4.5, (colours, share)


def stops_of(stops: list[list[Any]]) -> list[tuple[float, list[float]]]:
    return [(end, rgb(colour)) for end, colour in stops]


def rgb(colour: str) -> list[float]:
    return [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]


def contrast(one: list[float], other: list[float]) -> float:
    """The contrast ratio of WCAG 2."""
    linear = [[c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour] for colour in (one, other)]
    low, high = sorted(float(np.dot(colour, (0.2126, 0.7152, 0.0722))) for colour in linear)
    return (high + 0.05) / (low + 0.05)


def test_a_run_shows_its_settings_and_the_theme_can_be_switched(shown: Screen, sweep: Sweep) -> None:
    shown.draw_all()
    shown.run("document.querySelector('#runs tbody button').click()")
    spec = json.loads(shown.run("return document.querySelector('#runs pre').textContent"))
    assert spec in [folder.spec for folder in sweep.runs]
    shown.run("document.getElementById('theme').click()")
    assert shown.run("return document.documentElement.dataset.theme") == "dark"
    assert shown.run("return document.querySelectorAll('#runs pre').length") == 2, "the choice is kept"
    assert shown.driver.get_log("browser") == []


def test_a_page_of_labels_as_given_says_nothing_of_right_and_wrong_ones(browser: Any, tmp_path: Path) -> None:
    score(finish(tmp_path, "alpha", CLEAN, given={"labels": "given"}), wrong=0)
    shown = Screen(browser)
    shown.open(page.write(sweep_of(tmp_path), tmp_path / "page.html"))
    shown.draw_all()
    assert shown.driver.get_log("browser") == []
    text = shown.run("return document.body.innerText").lower()
    assert "nobody knows which of them are wrong" in text
    said = ("wrong labels", "wrong label,", "correct", "right label", "are wrong, against", "0 of these", "0 % labels")
    assert not [words for words in said if words in text]


def test_faces_and_weights_are_drawn(browser: Any, tmp_path: Path, faces_folder: Path) -> None:
    faces = open_dataset(str(faces_folder))
    faces.decode(48)
    sweep, _ = weighed(tmp_path, fingerprint=faces.fingerprint)
    for folder in sweep.runs:
        replace_arrays(folder, "probe.npz", rows=np.arange(30), logits=np.random.default_rng(0).normal(size=(6, 30, 7)))
    shown = Screen(browser)
    shown.open(page.write(sweep, tmp_path / "page.html", [str(tmp_path / "plugins")]))
    shown.draw_all()
    assert shown.driver.get_log("browser") == []
    loaded = "return [...document.querySelectorAll('#gallery img')].map((img) => img.complete && img.naturalWidth)"
    shown.run("document.getElementById('gallery').scrollIntoView({behavior: 'instant'})")
    shown.wait(lambda: set(shown.run(loaded)) == {48})
    kinds = "return [...document.querySelectorAll('#weights .js-plotly-plot')].map((p) => p.data.map((t) => t.type))"
    assert shown.run(kinds) == [["heatmap", "scatter", "scatter"]] * 2
    before = shown.run("return document.querySelectorAll('#weights figcaption span')[1].innerText")
    shown.run("const f = document.querySelector('#weights input'); f.value = 2; f.dispatchEvent(new Event('input'))")
    assert (before, shown.run("return document.querySelectorAll('#weights figcaption span')[1].innerText")) == (
        "Weights in epoch 6", "Weights in epoch 3",
    )  # fmt: skip
