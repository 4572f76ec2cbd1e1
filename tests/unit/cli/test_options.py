"""Options of ``fer-bench run``: those that change the training data, to the planned problem, and those of devices."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from fer_bench.cli.main import main
from fer_bench.core.errors import SpecError
from fer_bench.data.splits import make_splits
from fer_bench.launch.devices import choose_devices
from fer_bench.sweep.plan import make_plan
from fer_bench.sweep.request import make_request


def counts(folder: Path, **options: object) -> list[int]:
    """Training images by class of the one run that is planned."""
    planned = make_plan(make_request(methods=["ce"], dataset=str(folder), image_size=32, **options))
    (run,) = planned.runs
    return np.bincount(make_splits(planned.dataset, run.spec).clean_label).tolist()


def test_dedup_leaves_copies_of_held_out_images_out_of_train(faces_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "faces"
    shutil.copytree(faces_folder, folder)
    shutil.copy(folder / "test" / "anger" / "000.png", folder / "train" / "anger" / "copy.png")
    assert counts(folder) == [41, 40, 40]
    assert counts(folder, dedup=True) == [40, 40, 40]


def test_dedup_near_leaves_out_images_that_show_the_same_picture(faces_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "faces"
    shutil.copytree(faces_folder, folder)
    pixels = np.asarray(Image.open(folder / "test" / "anger" / "000.png")).copy()
    pixels[0, 0] = 0
    Image.fromarray(pixels).save(folder / "train" / "anger" / "copy.png")
    assert counts(folder, dedup=True)[0] == 41 and counts(folder, dedup="near")[0] <= 40


def test_any_validation_split_can_be_asked_for(faces_folder: Path) -> None:
    assert counts(faces_folder) == counts(faces_folder, val="none") == [40, 40, 40]
    assert counts(faces_folder, val=0.1) == [36, 36, 36] and counts(faces_folder, val="60") == [20, 20, 20]


def test_what_comes_to_the_same_is_the_same_run(faces_folder: Path) -> None:
    def key(folder: Path, **options: object) -> str:
        return make_plan(make_request(methods="ce", dataset=folder, image_size=32, **options)).runs[0].spec.key

    without = faces_folder / "train"
    assert key(without) == key(without, val=0.1) != key(without, val=0.2)
    assert len({key(faces_folder), key(faces_folder, val=0.1), key(faces_folder, val="none")}) == 3


def test_a_dry_run_says_what_is_assumed_and_how_large_the_splits_are(faces_folder: Path, tmp_path: Path) -> None:
    for number, path in enumerate(sorted((faces_folder / "train").rglob("*.png"))):
        target = tmp_path / "ck" / path.parent.name / f"S{number % 20:03d}_001_{number:08d}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    words = ["run", "--methods", "ce", "--dataset", str(tmp_path / "ck"), "--image-size", "32", "--dry-run"]
    said = CliRunner().invoke(main, [*words, "--out", str(tmp_path)]).output
    assert "data     images of one group, by file names as in CK+ (S010_001_00000015), stay together" in said
    assert "data     no test split: 24 of 120 images are taken for it, 4 of 20 groups" in said
    assert "data     84 training, 12 validation (held out of training) and 24 test images (derived by group)" in said
    said = CliRunner().invoke(main, [*words, "--group-by", "none", "--val", "none", "--out", str(tmp_path)]).output
    assert "data     96 training, no validation and 24 test images (derived)" in said, said


def test_the_type_of_imbalance_reaches_the_data(faces_folder: Path) -> None:
    assert counts(faces_folder, imbalance=[4.0], imbalance_type="exp") == [40, 20, 10]
    assert counts(faces_folder, imbalance=[4.0], imbalance_type="step") == [40, 40, 10]


def test_the_command_line_has_them(faces_folder: Path, tmp_path: Path) -> None:
    words = ["run", "--methods", "ce", "--dataset", str(faces_folder), "--image-size", "32", "--out", str(tmp_path)]
    result = CliRunner().invoke(main, [*words, "--imbalance", "4", "--imbalance-type", "step", "--dedup", "--dry-run"])
    assert result.exit_code == 0 and "step imbalance 4" in result.output, result.output


# --- devices ------------------------------------------------------------------------------------------------------


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.usefixtures("two_gpus")
def test_jobs_per_device_packs_every_device() -> None:
    assert choose_devices("cuda:0,cuda:1", None, 99, 3) == ["cuda:0", "cuda:1"] * 3
    assert choose_devices("cuda:1", None, 99, 2) == ["cuda:1"] * 2
    assert choose_devices("auto", None, 99, 2) == ["cuda:0", "cuda:1"] * 2
    assert choose_devices("cuda", None, 3, 2) == ["cuda:0", "cuda:1", "cuda:0"], "no more workers than runs"
    assert choose_devices("cpu", None, 99, 3) == ["cpu"] * 3


@pytest.mark.usefixtures("two_gpus")
def test_a_list_of_devices() -> None:
    assert choose_devices("cuda:1, cuda:0,cuda:1", None, 99) == ["cuda:1", "cuda:0"]
    assert choose_devices("cuda:0,cuda:1", 3, 99) == ["cuda:0", "cuda:1", "cuda:0"]


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("device", "jobs", "each", "message"),
    [
        ("auto", None, 0, "--jobs-per-device 0: at least 1"),
        ("cpu", None, -1, "--jobs-per-device -1: at least 1"),
        ("cuda", 4, 2, "--jobs 4 and --jobs-per-device 2 contradict"),
        ("cuda:0,cuda:2", None, 2, "--device cuda:2: this machine has 2 CUDA devices"),
        ("cuda:0,cpu", None, None, "--device 'cuda:0,cpu'; there are: auto, cpu, cuda"),
        ("cuda:0,", None, None, "--device 'cuda:0,'; there are"),
    ],
)
def test_a_wrong_number_or_device_is_named(device: str, jobs: int | None, each: int | None, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        choose_devices(device, jobs, 99, each)


@pytest.mark.parametrize("words", [("run", "--methods", "ce"), ("reproduce", "lanet-t1", "--on")])
def test_both_commands_pack_runs(words: tuple[str, ...], faces_folder: Path, tmp_path: Path) -> None:
    data = (str(faces_folder),) if words[-1] == "--on" else ("--dataset", str(faces_folder))
    command = [*words, *data, "--image-size", "32", "--train-size", "60", "--seeds", "0,1,2", "--out", str(tmp_path)]
    command += ["--device", "cpu", "--dry-run"]
    result = CliRunner().invoke(main, [*command, "--jobs-per-device", "3"])
    assert result.exit_code == 0 and "with 3 at a time on cpu" in " ".join(result.output.split()), result.output
    result = CliRunner().invoke(main, [*command, "--jobs-per-device", "3", "--jobs", "1"])
    assert result.exit_code == 2 and "--jobs 1 and --jobs-per-device 3 contradict" in result.output, result.output
