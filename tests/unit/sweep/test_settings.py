"""Settings files: what is written can be read, a sweep uses it, and a wrong file is refused with its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fer_bench.core.errors import SpecError
from fer_bench.core.files import file_checksum
from fer_bench.plugins.registry import Plugin
from fer_bench.sweep.plan import make_plan
from fer_bench.sweep.request import Request, make_request
from fer_bench.sweep.settings import MethodSettings, Settings, Tuning, read_settings
from tests.helpers.plugins import LOSS

BODY = (
    LOSS
    + """
@dataclass(frozen=True)
class Config:
    lam: float = hparam(1.0, "weight")
    variant: str = hparam("a", "which")
    parts: tuple[int, ...] = hparam((1, 2), "parts")
"""
)
MINE = """
[methods.mine]
settings = { lam = 0.3 }
recipe = { lr = 0.004 }
"""


@pytest.fixture
def request_for(toy: Callable[..., Plugin], faces_folder: Path, tmp_path: Path) -> Callable[..., Request]:
    """A request with the settings file of a text."""
    plugin = toy("mine", BODY)

    def make(text: str = "", methods: str = "ce,mine", **options: Any) -> Request:
        if text:
            (tmp_path / "mine.settings.toml").write_text(text)
            options["settings_file"] = str(tmp_path / "mine.settings.toml")
        usual = {"epochs": 1, "image_size": 32, "plugins": [str(plugin.path)]}
        return make_request(methods=methods.split(","), dataset=str(faces_folder), **{**usual, **options})

    return make


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    mine = MethodSettings({"lam": 1e-05, "variant": 'a "b"', "parts": (1, 2), "plus": True}, {"lr": 0.002}, trial=3,
                          trials=7, failed=0, cost=14.0, validation=0.5, code="c" * 12)  # fmt: skip
    tuning = Tuning(
        "tune-x", "faces", "f" * 64, ("clean", "symmetric 0.4"), "ferres8", 48, 14, 64, None, 15.0, 3, "accuracy"
    )
    path = tmp_path / "settings.toml"
    path.write_text(Settings({"mine": mine, "ce": MethodSettings(trial=0)}, tuning).to_toml())
    found = read_settings(path)
    assert found.content.tuning == tuning
    assert found.content.methods["ce"] == MethodSettings(trial=0)
    stored = found.content.methods["mine"]
    assert stored.settings == {"lam": 1e-05, "variant": 'a "b"', "parts": [1, 2], "plus": True}
    assert (stored.recipe, stored.trial, stored.failed, stored.validation) == ({"lr": 0.002}, 3, 0, 0.5)
    assert found.sha256 == file_checksum(path)
    assert found.note == (
        f"settings.toml, sha256 {found.sha256[:12]}, chosen by accuracy on faces (clean; symmetric 0.4), budget 15, "
        "3 studies"
    )


def test_a_sweep_uses_the_settings_of_the_file(request_for: Callable[..., Request]) -> None:
    ce, mine = make_plan(request_for(MINE)).runs
    by_hand = make_plan(request_for(settings=["mine.lam=0.3", "mine.lr=0.004"], settings_file="default")).runs
    assert [ce.spec.key, mine.spec.key] == [run.spec.key for run in by_hand], "the key goes through the resolved config"
    assert ce.variant.note == "" and mine.variant.note.startswith("mine.settings.toml, sha256 ")
    assert by_hand[1].variant.note == ""


def test_set_and_vary_replace_settings_of_the_file(request_for: Callable[..., Request]) -> None:
    _, fixed = make_plan(request_for(MINE, settings=["mine.lam=0.7"])).runs
    assert fixed.spec.config["lam"] == 0.7 and fixed.spec.recipe.lr == 0.004 and fixed.variant.note
    varied = make_plan(request_for(MINE, "mine", vary=["mine.lam=0,1"])).runs
    assert [run.spec.config["lam"] for run in varied] == [0.0, 1.0]
    assert {run.spec.recipe.lr for run in varied} == {0.004}


def test_a_preset_can_bring_settings_and_default_ignores_them(
    request_for: Callable[..., Request], tmp_path: Path
) -> None:
    (tmp_path / "own.toml").write_text("lr = 0.01\n")
    (tmp_path / "own.settings.toml").write_text(MINE)
    preset = str(tmp_path / "own.toml")
    _, mine = make_plan(request_for(preset=preset)).runs
    assert (mine.spec.config["lam"], mine.spec.recipe.lr) == (0.3, 0.004) and mine.variant.note
    _, plain = make_plan(request_for(preset=preset, settings_file="default")).runs
    assert (plain.spec.config["lam"], plain.spec.recipe.lr, plain.variant.note) == (1.0, 0.01, "")
    assert make_plan(request_for(preset=preset, methods="ce")).runs, "no setting of its methods is no error here"
    _, changed = make_plan(request_for(preset=preset, lr=0.5)).runs
    assert changed.spec.recipe.lr == 0.5 and changed.spec.config["lam"] == 0.3, "an option replaces what nobody named"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[methods.mine", r"mine\.settings\.toml is not valid TOML"),
        ("", r"the settings of a method are a table \[methods\.METHOD\]; there is none"),
        ("lam = 3", r"unknown table \[lam\]; there are \[tuning\] and \[methods\.METHOD\]"),
        ("[methods]\nmine = 3", r"the settings of a method are a table"),
        ("[methods.mine]\nsetings = {}", r"\[methods\.mine\] has no setting 'setings'; did you mean 'settings'"),
        ("[methods.mine]\nsettings = 3", r"\[methods\.mine\]\.settings = 3 is no table"),
        ("[methods.mine]\nrecipe = { epochs = 3 }", r"\[methods\.mine\]\.recipe: 'epochs' is equal for all methods"),
        ("[methods.mine]\nrecipe = { lr = true }", r"recipe\.lr = True is not of type float"),
        ("[methods.mine]\nrecipe = { lr = -1.0 }", r"mine: lr = -1\.0 is not a positive number"),
        ("[methods.mine]\nsettings = { lamb = 1 }", r"mine has no setting 'lamb'; did you mean 'lam'"),
        ("[methods.mine]\nsettings = { lam = 'x' }", r"mine\.lam = 'x' is not of type float"),
        ("[methods.mien]\n", r"\[methods\.mien\]: unknown method 'mien'; did you mean 'mine'"),
        ("[methods.eac]\n", r"has settings of eac, and of none of ce, mine"),
        ("tuning = 3\n[methods.mine]\n", r"\[tuning\] = 3 is no table"),
        ("[tuning]\nbudget = 'x'\n[methods.mine]\n", r"\[tuning\]\.budget = 'x' is not of type float"),
    ],
)
def test_a_wrong_file_is_refused(text: str, message: str, request_for: Callable[..., Request]) -> None:
    with pytest.raises(SpecError, match=message):
        make_plan(request_for(text or "\n"))


def test_a_file_that_is_not_there_or_contradicts_an_option_is_refused(request_for: Callable[..., Request]) -> None:
    with pytest.raises(SpecError, match=r"--settings absent\.toml: no such file; it names a file"):
        make_plan(request_for(settings_file="absent.toml"))
    with pytest.raises(
        SpecError, match=r"--lr 0\.5, but .*mine\.settings\.toml sets mine\.lr; leave the option out, or use"
    ):
        make_plan(request_for(MINE, lr=0.5))
