"""Options of ``fer-bench run`` that change the training data, from the command line to the planned problem."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from click.testing import CliRunner

from fer_bench.api import make_request
from fer_bench.cli import main
from fer_bench.data.problem import pose
from fer_bench.sweep import plan


def counts(folder: Path, **options: object) -> list[int]:
    """Training images by class of the one run that is planned."""
    planned = plan(make_request(methods=["ce"], dataset=str(folder), image_size=32, **options))
    (run,) = planned.runs
    return np.bincount(pose(planned.faces, run.spec).true).tolist()


def test_dedup_leaves_copies_of_held_out_images_out_of_train(faces_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "faces"
    shutil.copytree(faces_folder, folder)
    shutil.copy(folder / "test" / "anger" / "000.png", folder / "train" / "anger" / "copy.png")
    assert counts(folder) == [41, 40, 40]
    assert counts(folder, dedup=True) == [40, 40, 40]


def test_the_type_of_imbalance_reaches_the_data(faces_folder: Path) -> None:
    assert counts(faces_folder, imbalance=[4.0], imbalance_type="exp") == [40, 20, 10]
    assert counts(faces_folder, imbalance=[4.0], imbalance_type="step") == [40, 40, 10]


def test_the_command_line_has_them(faces_folder: Path, tmp_path: Path) -> None:
    words = ["run", "--methods", "ce", "--dataset", str(faces_folder), "--image-size", "32", "--out", str(tmp_path)]
    result = CliRunner().invoke(main, [*words, "--imbalance", "4", "--imbalance-type", "step", "--dedup", "--dry-run"])
    assert result.exit_code == 0 and "step imbalance 4" in result.output, result.output
