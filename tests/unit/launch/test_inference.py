"""Kept models answer for new images, from Python and on the command line; what cannot be read is named."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import fer_bench
from fer_bench import api
from fer_bench.cli.main import main
from fer_bench.core.errors import DataError, PluginError, SpecError
from fer_bench.core.spec import restore
from fer_bench.data.open import open_dataset
from fer_bench.launch.inference import how_cropped
from fer_bench.launch.task import Task, train_run
from fer_bench.store.folder import MODEL, RunFolder
from fer_bench.sweep.plan import Plan, make_plan
from fer_bench.sweep.record import make_sweep
from fer_bench.sweep.request import Request
from tests.helpers.own_network import NETWORK
from tests.helpers.plugins import LOSS, plugin_source


@pytest.fixture(scope="module")
def plan(faces_folder: Path) -> Plan:
    """Co-teaching, which answers with the first of its two networks."""
    return make_plan(Request(["coteaching"], str(faces_folder), noise=[0.2], overrides={"epochs": 2, "image_size": 32}))


@pytest.fixture(scope="module")
def out(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept")
    event = train_run(Task(plan, replace(plan.runs[0], keep_networks=True), folder, "cpu"))
    assert event["state"] == "done", event
    make_sweep(plan, folder, "mine", "fer-bench run --methods coteaching").save()
    return folder


@pytest.fixture(scope="module")
def folder(plan: Plan, out: Path) -> RunFolder:
    return RunFolder.of(out, plan.runs[0].spec)


@pytest.fixture(scope="module")
def measured(folder: RunFolder) -> np.ndarray:
    """Class probabilities of the test images when the run was measured."""
    logits = folder.scores()["test_logits"].astype(float)
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def files(faces_folder: Path) -> list[Path]:
    dataset = open_dataset(str(faces_folder))
    return [faces_folder / name for name in dataset.ids[dataset.split == "test"]]


def ask(out: Path, *words: object) -> Result:
    return CliRunner().invoke(main, ["predict", *map(str, words), "--out", str(out)], env={"COLUMNS": "80"})


def without_model(folder: RunFolder, out: Path) -> Path:
    """The same results, in which the run did not keep its model."""
    shutil.copytree(folder.path.parents[3], out)
    (out / folder.path.relative_to(folder.path.parents[3]) / MODEL).unlink()
    return out


# --- Python -----------------------------------------------------------------------------------------------------------


def test_files_are_answered_as_the_test_images_were(folder: RunFolder, files: list[Path], measured: np.ndarray) -> None:
    """Decoding, size, normalisation and the way to predict are those of the run."""
    model = fer_bench.load_model(folder.path)
    assert model.classes == ("anger", "happiness", "neutral")
    found = model(files)
    assert found.dtype == np.float32 and found == pytest.approx(measured, abs=1e-5)
    assert model([str(file) for file in files[:2]]) == pytest.approx(measured[:2], abs=1e-5)
    with pytest.raises(DataError, match=r"absent\.png: no such image file"):
        model([files[0], "absent.png"])


def test_a_frame_of_files_and_folders(
    out: Path, folder: RunFolder, faces_folder: Path, files: list[Path], measured: np.ndarray
) -> None:
    frame = fer_bench.predict(folder.path.name[:6], faces_folder / "test", out=out)
    assert list(frame) == ["image", "predicted", "p_anger", "p_happiness", "p_neutral"]
    assert sorted(frame["image"]) == sorted(map(str, files)) and len(frame) == 30
    rows = frame.set_index("image").loc[[str(file) for file in files]]
    assert rows[["p_anger", "p_happiness", "p_neutral"]].to_numpy() == pytest.approx(measured, abs=1e-5)
    best = np.array(["anger", "happiness", "neutral"])[measured.argmax(axis=1)]
    assert rows["predicted"].tolist() == best.tolist()
    one = fer_bench.predict(folder.path, files[3])
    assert one["image"].tolist() == [str(files[3])]


def test_a_run_without_a_model_has_the_command_that_keeps_it(folder: RunFolder, tmp_path: Path) -> None:
    out = without_model(folder, tmp_path / "out")
    key = folder.path.name
    with pytest.raises(
        SpecError, match=rf"run {key} did not keep .*\n  fer-bench run .*coteaching --keep-model --force$"
    ):
        fer_bench.load_model(key, out=out)
    shutil.rmtree(out / "sweeps")
    with pytest.raises(SpecError, match=r"--keep-model --force \(in Python: keep_model=True, force=True\)"):
        fer_bench.load_model(key, out=out)


def test_other_code_than_the_run_was_trained_with_is_refused(faces_folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "plugins" / "mine.py"
    file.parent.mkdir()
    file.write_text(plugin_source(LOSS))
    request = Request(["mine"], str(faces_folder), plugins=[str(file)], overrides={"epochs": 1, "image_size": 32})
    planned = make_plan(request)
    train_run(Task(planned, replace(planned.runs[0], keep_networks=True), tmp_path, "cpu"))
    run = RunFolder.of(tmp_path, planned.runs[0].spec).path
    assert fer_bench.load_model(run, plugins=file).classes == ("anger", "happiness", "neutral")
    with pytest.raises(SpecError, match=r"unknown method 'mine'.*; see --plugins"):
        fer_bench.load_model(run)
    file.write_text(plugin_source(LOSS + "\n\ndef predict(self, images):\n    return -self.net(images)\n"))
    with pytest.raises(PluginError):
        fer_bench.load_model(run, plugins=file)


def test_faces_that_the_reader_cuts_out_are_spoken_of(folder: RunFolder) -> None:
    model = fer_bench.load_model(folder.path)
    assert how_cropped(model) == ""
    model.spec = replace(restore(folder.spec, "spec.json"), dataset="expw")
    assert "expw, whose faces are cut out by the boxes" in how_cropped(model)


# --- the commands -----------------------------------------------------------------------------------------------------


def test_unreadable_images_are_named_and_the_rest_goes_on(
    out: Path, folder: RunFolder, files: list[Path], measured: np.ndarray, tmp_path: Path
) -> None:
    some, inner, nothing = tmp_path / "some", tmp_path / "some" / "inner", tmp_path / "nothing"
    inner.mkdir(parents=True)
    nothing.mkdir()
    shutil.copy(files[0], inner / "=a.png")
    (some / "b.png").write_bytes(b"no image")
    (some / "c.png").symlink_to("nowhere.png")
    (some / "notes.txt").write_text("no image, and not called like one")
    target = tmp_path / "p" / "p.csv"
    result = ask(out, folder.path.name, some, files[1], tmp_path / "absent.jpg", nothing, "--csv", target)
    assert result.exit_code == 1
    for said in (
        "b.png: cannot be decoded",
        "c.png: no such image",
        "absent.jpg: no such image",
        "nothing: no image in it",
    ):
        assert said in result.output.replace("\n", ""), said
    assert "notes.txt" not in result.output and "wrote" in result.output and "2 images" in result.output
    with target.open() as opened:
        lines = list(csv.DictReader(opened))
    assert [line["image"] for line in lines] == [str(inner / "=a.png"), str(files[1])]
    assert [float(line["p_anger"]) for line in lines] == pytest.approx(measured[:2, 0], abs=1e-5)


def test_what_is_readable_exits_with_zero(out: Path, folder: RunFolder, files: list[Path]) -> None:
    result = ask(out, folder.path, *files[:25])
    assert result.exit_code == 0, result.output
    assert "… and 5 more" in result.output and max(map(len, result.output.splitlines())) <= 80


def test_no_image_at_all(out: Path, folder: RunFolder, tmp_path: Path) -> None:
    result = ask(out, folder.path, tmp_path / "absent.png", "--csv", tmp_path / "p.csv")
    assert result.exit_code == 1 and "no image could be read" in result.output
    assert not (tmp_path / "p.csv").exists()


def test_the_command_says_how_to_keep_a_model(folder: RunFolder, files: list[Path], tmp_path: Path) -> None:
    result = ask(without_model(folder, tmp_path / "out"), folder.path.name, files[0])
    assert result.exit_code == 2 and "coteaching --keep-model --force" in result.output


def test_a_run_that_is_done_without_its_model_is_not_trained_again_by_itself(
    plan: Plan, out: Path, folder: RunFolder, tmp_path: Path
) -> None:
    kept = api.prepare(plan, api.Execution(out, keep_model=True, jobs=1, device="cpu"))
    assert kept.todo == [], "it has its model"
    without = without_model(folder, tmp_path / "out")
    execution = api.Execution(without, keep_model=True, jobs=1, device="cpu")
    with pytest.raises(
        SpecError, match=r"--keep-model: 1 of 1 run did not keep .*: coteaching, symmetric 0.2, seed 0\. .*--force"
    ):
        api.prepare(plan, execution)
    again = api.prepare(plan, replace(execution, force=True))
    assert [run.keep_networks for run in again.todo] == [True]
    new = api.prepare(plan, replace(execution, out=tmp_path / "new"))
    assert [run.keep_networks for run in new.todo] == [True]
    plain = api.prepare(plan, replace(execution, out=tmp_path / "new", keep_model=False))
    assert [run.keep_networks for run in plain.todo] == [False]


# --- a network of the user ------------------------------------------------------------------------------------------


def test_a_run_with_a_network_of_the_user_needs_its_file(
    faces_folder: Path, tmp_path: Path, files: list[Path], folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NETWORK)
    overrides = {"epochs": 1, "image_size": 32, "backbone": "net.py:make_net"}
    plan = make_plan(Request(["ce"], str(faces_folder), overrides=overrides))
    assert train_run(Task(plan, replace(plan.runs[0], keep_networks=True), tmp_path, "cpu"))["state"] == "done"
    run = RunFolder.of(tmp_path, plan.runs[0].spec)
    with pytest.raises(SpecError, match=r"name its file with --backbone …/net\.py:make_net"):
        fer_bench.load_model(run.path)
    answers = fer_bench.load_model(run.path, backbone="net.py:make_net")(files)
    logits = run.scores()["test_logits"].astype(float)
    measured = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.abs(answers - measured).max() < 2e-3, "logits are stored as float16"
    shown = CliRunner().invoke(main, ["predict", str(run.path), str(files[0]), "--backbone", "net.py:make_net"])
    assert shown.exit_code == 0, shown.output
    Path("net.py").write_text(NETWORK.replace("width=12", "width=13"))
    with pytest.raises(SpecError, match=r"net\.py:make_net is not the network of the run.*its code has changed"):
        fer_bench.load_model(run.path, backbone="net.py:make_net")
    with pytest.raises(SpecError, match=r"the network of the run is ferres8; leave the option out"):
        fer_bench.load_model(folder.path, backbone="net.py:make_net")
