"""The images that runs suspect, with places, suggestions and agreement worked out by hand; and what is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from fer_bench.cli.main import main
from fer_bench.core.errors import DataError, SpecError, StoreError
from fer_bench.core.spec import Noise
from fer_bench.data.open import open_dataset
from fer_bench.report.suspects import Place, condition_of, find_suspects
from fer_bench.store.folder import RunFolder
from fer_bench.store.records import Record, read_record
from tests.helpers.runs import CLEAN, NOISY, finish

CLASSES = ("anger", "fear", "joy")
LABEL = np.array([0, 1, 2, 0, 1, 2])
BEFORE = np.array([0, 1, 2, 1, 1, 0])
IDS = np.array([f"train/{number}.png" for number in range(6)])


def stored(
    out: Path, method: str, score: list[float], *, noise: Noise = NOISY, own: bool = True, **changes: Any
) -> Record:
    """A finished run with these scores of its labels. It gives each label 0.5, and the class after it 0.3."""
    logits = np.log(np.full((6, 3), 0.2))
    logits[np.arange(6), LABEL], logits[np.arange(6), (LABEL + 1) % 3] = np.log(0.5), np.log(0.3)
    arrays = {
        "train_logits": logits.astype(np.float16),
        "train_row": np.arange(6),
        "noisy_label": LABEL,
        "clean_label": BEFORE if noise.rate else LABEL,
        "clean_score": np.array(score, np.float32),
        "train_id": IDS,
        **changes.pop("arrays", {}),
    }
    given = {"detection_by": "method" if own else "loss", **changes.pop("given", {})}
    folder = finish(out, method, noise, size=3, given=given, arrays=arrays, **changes)
    return read_record(folder)


def test_one_run(tmp_path: Path) -> None:
    record = stored(tmp_path, "alpha", [5, 4, 3, -1, 2, 1])
    found = find_suspects([record], CLASSES, top=3)
    lines = found.lines
    assert list(lines) == ["rank", "id", "path", "label", "suggested", "probability", "score", "named_by_runs", "runs",
                           "named_by_methods", "methods", "reference"]  # fmt: skip
    assert lines["id"].tolist() == ["train/3.png", "train/5.png", "train/4.png"] and set(lines["path"]) == {""}
    assert lines["score"].tolist() == [-1, 1, 2] and lines["rank"].tolist() == [1, 2, 3]
    assert lines["label"].tolist() == ["anger", "joy", "fear"]
    assert lines["suggested"].tolist() == ["fear", "anger", "joy"]
    assert lines["probability"].to_numpy() == pytest.approx([0.3] * 3, abs=1e-2)
    assert lines["reference"].tolist() == ["fear", "anger", "fear"]
    assert found.title.startswith("3 of 6 training images")
    assert any("Of these 3 labels, 2 are wrong labels; of all, 2 are." in note for note in found.notes)
    by_margin = find_suspects([record], CLASSES, score="margin")
    assert len(by_margin.lines) == 6
    assert by_margin.lines["score"].to_numpy() == pytest.approx([np.log(0.5 / 0.3)] * 6, abs=1e-2)


def test_budget_is_a_share_of_the_images(tmp_path: Path) -> None:
    record = stored(tmp_path, "alpha", [5, 4, 3, -1, 2, 1])
    assert [len(find_suspects([record], CLASSES, budget=share).lines) for share in (0.01, 0.5, 1)] == [1, 3, 6]


def test_methods_weigh_the_same_whatever_their_seeds(tmp_path: Path) -> None:
    """Alpha has image 0 first in two seeds, and beta has image 5 first: neither has a majority by its seeds."""
    records = [
        stored(tmp_path, "alpha", [0, 2, 3, 4, 5, 1], seed=0),
        stored(tmp_path, "alpha", [0, 1, 3, 4, 5, 2], seed=1),
        stored(tmp_path, "beta", [3, 2, 4, 5, 1, 0]),
    ]
    found = find_suspects(records, CLASSES, top=2)
    lines = found.lines
    # places: alpha 1, 2.5, 4, 5, 6, 2.5; beta 4, 3, 5, 6, 2, 1; each of 6
    expected = np.sort(np.add([1, 2.5, 4, 5, 6, 2.5], [4, 3, 5, 6, 2, 1]) / 12)[:2]
    assert lines["score"].to_numpy() == pytest.approx(expected)
    assert lines["id"].tolist() == ["train/5.png", "train/0.png"]
    assert lines["named_by_runs"].tolist() == [2, 2] and set(lines["runs"]) == {3}
    assert lines["named_by_methods"].tolist() == [2, 1] and set(lines["methods"]) == {2}, (
        "half of alpha's runs is enough"
    )


def test_equal_scores_share_a_place(tmp_path: Path) -> None:
    records = [stored(tmp_path, "alpha", [1] * 6, seed=seed) for seed in range(2)]
    assert find_suspects(records, CLASSES).lines["score"].to_numpy() == pytest.approx([3.5 / 6] * 6)


def test_nothing_is_said_of_labels_that_nobody_knows(tmp_path: Path) -> None:
    given = stored(tmp_path, "alpha", [1, 2, 3, 4, 5, 6], noise=CLEAN, given={"labels": "given"})
    found = find_suspects([given], CLASSES)
    assert not {"reference", "label_before_noise"} & set(found.lines)
    assert any("nobody knows which of them are wrong" in note for note in found.notes)
    injected = stored(tmp_path, "alpha", [1, 2, 3, 4, 5, 6], given={"labels": "given"})
    found = find_suspects([injected], CLASSES)
    assert "label_before_noise" in found.lines and "reference" not in found.lines
    assert any("labels of injected noise" in note for note in found.notes)
    assert not any("wrong" in note for note in found.notes)
    known = stored(tmp_path / "known", "alpha", [1, 2, 3, 4, 5, 6], noise=CLEAN)
    assert any("none is known to be wrong" in note for note in find_suspects([known], CLASSES).notes)


def test_a_method_without_the_score_is_left_out_and_named(tmp_path: Path) -> None:
    fit = {"fit_probability": np.arange(6.0), "fit_margin": np.arange(6.0), "fit_passes": np.ones(6)}
    records = [stored(tmp_path, "alpha", [1] * 6, arrays=fit), stored(tmp_path, "beta", [1] * 6)]
    usual = find_suspects(records, CLASSES)
    assert "Ranked by mean probability (alpha), the method's own score of a label (beta)." in usual.notes[0]
    assert find_suspects(records[:1], CLASSES).lines["score"].tolist() == [0, 1, 2, 3, 4, 5], "its mean probability"
    found = find_suspects(records, CLASSES, score="mean_margin")
    assert found.notes[0] == "Left out: beta has no mean_margin." and set(found.lines["runs"]) == {1}
    with pytest.raises(SpecError, match="--score mean_margin: no run has it; there are: own, loss, margin"):
        find_suspects(records[1:], CLASSES, score="mean_margin")
    with pytest.raises(SpecError, match="no run has it; there are: loss, margin"):
        find_suspects([stored(tmp_path, "gamma", [1] * 6, own=False)], CLASSES, score="own")


def test_other_labels_are_refused_with_their_names(tmp_path: Path) -> None:
    other = {"noisy_label": np.roll(LABEL, 1)}
    records = [
        stored(tmp_path, "alpha", [1] * 6), stored(tmp_path, "beta", [1] * 6),
        stored(tmp_path, "alpha", [1] * 6, arrays=other, data_seed=1),
    ]  # fmt: skip
    first = "faces, symmetric 0.2, data seed 0"
    with pytest.raises(SpecError, match=rf"2 sets of training labels; .*--condition.* '{first}' \(2 runs\)"):
        find_suspects(records, CLASSES)
    assert condition_of(records[0]) == first
    assert set(find_suspects(records, CLASSES, condition=first).lines["runs"]) == {2}
    with pytest.raises(SpecError, match=r"--condition 'faces, symmetric 0.3, data seed 0'; did you mean"):
        find_suspects(records, CLASSES, condition="faces, symmetric 0.3, data seed 0")
    changed = [stored(tmp_path, "gamma", [1] * 6), stored(tmp_path, "gamma", [1] * 6, fingerprint="e" * 64)]
    with pytest.raises(SpecError, match="different data; name runs of one kind"):
        find_suspects(changed, CLASSES)


def test_arrays_that_are_not_here_are_refused(tmp_path: Path) -> None:
    record = stored(tmp_path, "alpha", [1] * 6)
    (record.folder.path / "scores.npz").unlink()
    with pytest.raises(StoreError, match=r"alpha/\w+: the scores of its labels are not on this machine"):
        find_suspects([record], CLASSES)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top": 0}, "--top 0"),
        ({"budget": 0.0}, "--budget 0.0"),
        ({"budget": 1.5}, "--budget 1.5"),
        ({"budget": float("nan")}, "--budget nan"),
        ({"top": 3, "budget": 0.1}, "--top and --budget"),
        ({"score": "margn"}, "'margn'; did you mean 'margin'"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=message):
        find_suspects([stored(tmp_path, "alpha", [1] * 6)], CLASSES, **options)


# --- images and the command -------------------------------------------------------------------------------------------


def faces(root: Path) -> Path:
    for split, count in (("train", 2), ("test", 1)):
        for number, name in enumerate(CLASSES):
            for image in range(count):
                path = root / split / name / f"{image}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (20, 20), (80 * number, 100 * image, 60 * (split == "test"))).save(path)
    return root


def test_paths_of_the_images(tmp_path: Path) -> None:
    root = faces(tmp_path / "faces")
    dataset = open_dataset(str(root))
    rows = np.flatnonzero(dataset.split == "train")
    arrays = {"train_id": dataset.ids[rows], "train_row": rows}
    record = stored(tmp_path, "alpha", [5, 4, 3, -1, 2, 1], arrays=arrays, fingerprint=dataset.fingerprint)
    lines = find_suspects([record], CLASSES, place=Place(str(root))).lines
    assert lines["path"].tolist() == [str(root / name) for name in lines["id"]] and Path(lines["path"][0]).is_file()
    del arrays["train_id"]  # a run of an earlier version
    older = {**record.scores()}
    del older["train_id"]
    again = stored(tmp_path / "older", "alpha", [0] * 6, arrays={**older, "train_id": IDS}, fingerprint="d" * 64)
    np.savez(again.folder.path / "scores.npz", **older)
    (again.folder.path / "sums.json").write_text("{}")
    with pytest.raises(StoreError, match=r"the ids of the images of faces are not on this machine: .*--dataset"):
        find_suspects([again], CLASSES)
    with pytest.raises(DataError, match="the runs were trained on other data"):
        find_suspects([again], CLASSES, place=Place(str(root)))


def sweep(out: Path, records: list[Record]) -> None:
    folder = out / "sweeps" / "mine"
    folder.mkdir(parents=True)
    content = {
        "name": "mine", "command": "fer-bench run", "skipped": [], "names": {}, "classes": {"faces": CLASSES},
        "runs": [record.folder.path.relative_to(out).as_posix() for record in records],
    }  # fmt: skip
    (folder / "sweep.json").write_text(json.dumps(content))


def ask(out: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["suspects", "--out", str(out), *words], env={"COLUMNS": "80"})


def test_the_command(tmp_path: Path) -> None:
    formula = {"train_id": np.array(["=1+1", *IDS[1:]])}
    records = [stored(tmp_path, "alpha", [0, 1, 3, 4, 5, 2], arrays=formula, seed=seed) for seed in range(2)]
    sweep(tmp_path, records)
    file = tmp_path / "a" / "suspects.csv"
    result = ask(tmp_path, "mine", "--top", "2", "--csv", str(file))
    assert result.exit_code == 0, result.output
    assert "2/2" in result.output and "=1+1" in result.output and f"wrote {file}: 2 images" in result.output
    with file.open() as opened:
        lines = list(csv.DictReader(opened))
    assert [line["id"] for line in lines] == ["'=1+1", "train/1.png"], "no spreadsheet runs it"
    assert lines[0]["label"] == "anger" and float(lines[0]["score"]) == pytest.approx(1 / 6, abs=1e-4)
    newest, one = ask(tmp_path), ask(tmp_path, records[0].key[:8], "--top", "1")
    assert newest.exit_code == one.exit_code == 0 and "1/1" not in one.output
    assert all(len(line) <= 80 for line in newest.output.splitlines())


def test_runs_that_are_not_there(tmp_path: Path) -> None:
    record = stored(tmp_path, "alpha", [0] * 6)
    sweep(tmp_path, [record])
    result = ask(tmp_path, "mien")
    assert result.exit_code == 2 and "no run 'mien'" in result.output and "did you mean 'mine'" in result.output
    spec = record.folder.path / "spec.json"
    begun = RunFolder(tmp_path / "runs" / "faces" / "beta" / "0123456789abcdef")
    begun.path.mkdir(parents=True)
    (begun.path / "spec.json").write_text(spec.read_text())
    result = ask(tmp_path, "0123")
    assert result.exit_code == 2 and "run 0123456789abcdef is not finished: new" in result.output
