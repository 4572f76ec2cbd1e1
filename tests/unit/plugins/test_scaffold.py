"""Adding a method as an outsider does: the written files, the commands of the guide, a package, and broken plugins."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from fer_bench.cli.main import main
from fer_bench.core.errors import PluginError, SpecError
from fer_bench.plugins import scaffold
from fer_bench.plugins.registry import Plugin, discover
from fer_bench.testing import run
from fer_bench.testing.bench import Bench
from fer_bench.testing.checks import CHECKS
from tests.helpers.commands import call
from tests.helpers.plugins import LOSS, plugin_source

ROOT = Path(__file__).parents[3]
GUIDE = ROOT / "docs" / "add-a-method.md"
TINY = ("--epochs", "1", "--train-size", "140", "--image-size", "32", "--jobs", "1")
Toy = Callable[..., Plugin]
CONFIG = (
    LOSS
    + """
@dataclass(frozen=True)
class Config:
    margin: float = hparam(0.5, "the margin")
"""
)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    return [shlex.split(line)[1:] for block in blocks("bash") for line in block.splitlines() if line]


# --- new-method ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("template", scaffold.TEMPLATES)
def test_a_written_method_keeps_the_contract(template: str, tmp_path: Path, bench: Bench) -> None:
    scaffold.new_method(f"made_{template[:3]}", template, tmp_path)
    plugin = discover([tmp_path])[f"made_{template[:3]}"]
    assert plugin.load().info.title and plugin.presets() == {}
    for check in CHECKS.values():
        check(plugin, bench)


@pytest.mark.slow
@pytest.mark.parametrize("template", scaffold.TEMPLATES)
def test_a_written_file_is_tidy_says_where_to_change_it_and_its_own_test_passes(template: str, tmp_path: Path) -> None:
    files = scaffold.new_method("made_here", template, tmp_path)
    assert [path.name for path in files] == ["made_here.py", "made_here.toml", "test_made_here.py"]
    texts = {path.name: path.read_text() for path in files}
    assert not any("my_method" in text or "MyMethod" in text for text in texts.values())
    marks = [int(number) for number in re.findall(r"CHANGE (\d)", texts["made_here.py"])]
    assert marks == list(range(1, len(marks) + 1)) and len(marks) >= 6 and "CHANGE" in texts["test_made_here.py"]
    ruff = [sys.executable, "-m", "ruff"]
    for command in (["check", "--ignore", "D"], ["format", "--check"]):
        done = subprocess.run(
            [*ruff, *command, "--no-cache", "--config", ROOT / "pyproject.toml", *files[::2]],
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not contract", files[2]],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0 and "2 passed" in done.stdout, done.stdout


@pytest.mark.parametrize("template", scaffold.TEMPLATES)
def test_the_commented_presets_fit_the_settings(template: str, tmp_path: Path) -> None:
    """Taking the comment signs away is what a person does first."""
    scaffold.new_method("made_here", template, tmp_path)
    path = tmp_path / "made_here.toml"
    path.write_text("\n".join(line[2:] for line in path.read_text().splitlines() if re.match(r"# (\[|\w+ = )", line)))
    plugin = discover([tmp_path])["made_here"]
    assert plugin.configure("rafdb", "symmetric 0.3", {}) != plugin.configure("rafdb", "clean", {})


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("x")
    with pytest.raises(SpecError, match=r"mine\.toml exists already; nothing was written"):
        scaffold.new_method("mine", folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.toml"]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("My-Method", "'my_method' is one"),
        ("MyMethod", "'my_method' is one"),
        ("../x", "not a method key"),
        ("class", "a keyword of Python"),
        ("torch", "the name of a Python module"),
        ("test_it", "discovery skips"),
        (next(iter(discover())), "there is a method .* already"),
    ],
)
def test_a_key_that_would_not_work_is_refused(key: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=message):
        scaffold.new_method(key, folder=tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("key", ["method", "config", "info", "true", "a1_b2"])
def test_a_class_name_never_hides_what_the_template_uses(key: str, tmp_path: Path) -> None:
    scaffold.new_method(key, "two-networks", tmp_path)
    assert discover([tmp_path])[key].load().info.title


def test_the_command_offers_the_templates_that_exist() -> None:
    option = next(p for p in main.commands["new-method"].params if p.name == "template")
    assert isinstance(option.type, click.Choice) and tuple(option.type.choices) == scaffold.TEMPLATES


def test_the_templates_are_in_the_package() -> None:
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["fer_bench"]
    names = {path.name for path in (ROOT / "fer_bench" / "plugins" / "templates").iterdir()}
    assert "plugins/templates/*.txt" in data and len(names) == 7 and all(name.endswith(".txt") for name in names)


# --- test-method --------------------------------------------------------------------------------------------------


def test_a_broken_promise_names_the_line(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = toy("sloppy", "def loss(self, batch, run):\n    return batch.view('mirror').sum()")
    few = {name: CHECKS[name] for name in ("config", "needs_are_honoured", "trains")}
    monkeypatch.setattr("fer_bench.testing.checks.CHECKS", few)
    done = CliRunner().invoke(main, ["test-method", str(plugin.path)])
    assert done.exit_code == 1 and "2 of 4 checks failed" in done.output
    assert "pass  config: Every hyper-parameter" in done.output
    assert "FAIL  needs_are_honoured: A method sees the views" in done.output
    assert "view 'mirror' was not declared" in done.output and re.search(r"sloppy\.py:\d+ in loss: return", done.output)
    assert "as in needs_are_honoured" in done.output


def test_a_method_that_cannot_be_loaded_fails_the_first_check(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("def broken(:")
    done = CliRunner().invoke(main, ["test-method", str(tmp_path / "bad.py")])
    assert done.exit_code == 1 and "FAIL  loads" in done.output and "SyntaxError" in done.output
    assert "1 of 1 checks failed" in done.output


def test_a_sound_method_passes_by_key(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = toy("sound", LOSS)
    monkeypatch.setattr("fer_bench.testing.checks.CHECKS", {"config": CHECKS["config"]})
    done = CliRunner().invoke(main, ["test-method", "sound", "--plugins", str(plugin.path.parent)])
    assert done.exit_code == 0 and "all 2 checks passed" in done.output


def test_a_method_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(plugin_source(LOSS))
    for name, message in (
        ("mine", "did you mean the file mine.py"),
        ("absent.py", "no such file"),
        (".", "is a folder"),
    ):
        with pytest.raises(SpecError, match=message):
            run.find_plugin(name)
    assert run.find_plugin("mine.py", ["."]).load(), "a file that its folder names as well is one plugin"


# --- the guide ----------------------------------------------------------------------------------------------------


def test_every_command_of_the_guide_parses() -> None:
    assert len(commands()) >= 8
    for name, *arguments in commands():
        main.commands[name].make_context(name, list(arguments))


@pytest.mark.slow
@pytest.mark.e2e
def test_the_commands_of_the_guide_run_in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cheap = [c for c in commands() if c[0] in ("new-method", "methods") or "--dry-run" in c or "--epochs" in c]
    assert len(cheap) == 5
    for command in cheap:
        done = call(*command, *(TINY[-2:] if "--epochs" in command else ()), timeout=280)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        if "--epochs" in command:
            assert re.search(r"^my_method +\d", done.stdout, re.MULTILINE), "a row in the table"


def test_the_presets_of_the_guide_fit_its_method(tmp_path: Path) -> None:
    scaffold.new_method("mine", folder=tmp_path)
    (tmp_path / "mine.toml").write_text(blocks("toml")[0])
    plugin = discover([tmp_path])["mine"]
    assert [plugin.configure("rafdb", noise, {}).q for noise in ("clean", "symmetric 0.3")] == [0.7, 0.8]


def test_the_guide_names_every_part_of_the_contract() -> None:
    from fer_bench.method import VIEWS, Method

    text = GUIDE.read_text(encoding="utf-8")
    hooks = [name for name, value in vars(Method).items() if callable(value) and name[0] != "_"]
    assert [name for name in [*hooks, *VIEWS] if name not in text] == []


@pytest.mark.slow
@pytest.mark.e2e
def test_a_package_of_ones_own(tmp_path: Path) -> None:
    """The guide's pyproject, built and installed for real; its method is listed and trains."""
    source, site = tmp_path / "source", tmp_path / "site"
    scaffold.new_method("my_method", folder=source / "my_fer_methods")
    (source / "my_fer_methods" / "__init__.py").touch()
    (source / "pyproject.toml").write_text(next(text for text in blocks("toml") if "[project]" in text))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target"]
    done = subprocess.run([*pip, site, source], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (site / "my_fer_methods" / "my_method.toml").exists()
    paths = {"PYTHONPATH": os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH", ""))))}
    card = call("methods", "my_method", **paths)
    assert "Zhilu Zhang" in card.stdout and "package my-fer-methods" in card.stdout, card.stdout + card.stderr
    assert re.search(r"^my_method +2018 +label noise", call("methods", **paths).stdout, re.MULTILINE)
    run = call("run", "--methods", "my_method", "--noise", "0.2", *TINY, "--out", tmp_path / "out", **paths)
    assert run.returncode == 0 and list(tmp_path.glob("out/runs/**/final.json")), run.stdout + run.stderr


# --- broken plugins -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def loss(self, batch):\n    pass", r"Toy\.loss\(self, batch\) cannot be called as loss\(self, batch, run\)"),
        (LOSS + "def needs(self, config):\n    return Needs()", "cannot be called as @classmethod needs"),
        (LOSS + "def __init__(self, config):\n    pass", "cannot be called as __init__"),
        (LOSS + "@classmethod\ndef needs(cls, config):\n    return Needs(view='x')", "raises TypeError: .*'view'"),
        (LOSS + "@classmethod\ndef needs(cls, config):\n    return config.absent", "raises AttributeError"),
        (
            LOSS + "@classmethod\ndef needs(cls, config):\n    pass",
            "must return a fer_bench.method.Needs, not NoneType",
        ),
        (LOSS + "@dataclass\nclass Config:\n    margin: float", "every setting needs a default"),
    ],
)
def test_a_hook_that_does_not_fit_is_named_before_training(body: str, message: str, toy: Toy) -> None:
    with pytest.raises(PluginError, match=message):
        toy("odd", body).load()


def test_hooks_that_fit_in_other_ways_are_accepted(toy: Toy) -> None:
    body = "def loss(self, *anything):\n    pass\n@staticmethod\ndef predict(images):\n    pass\n"
    assert toy("free", body + "def clean_score(self, more=1):\n    pass").load()


VALUE = '{ value = 0.1, source = "x" }'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            f"[preset.faces]\nmargn = {VALUE}",
            r"mine\.toml: \[preset\.faces\] has no setting 'margn'; did you mean 'margin'",
        ),
        (
            f'[preset.faces."symmetric-0.3"]\nmargn = {VALUE}',
            r"\[preset\.faces\.symmetric-0\.3\] has no setting 'margn'",
        ),
        (
            f'[preset.faces."symetric-0.3"]\nmargin = {VALUE}',
            "'symetric-0.3' is no setting and no noise .*'symmetric'",
        ),
        (f'[preset.faces."symmetric-0.30"]\nmargin = {VALUE}', "'symmetric-0.30' is no setting and no noise"),
        (f"[preset.faces.symmetric-0.3]\nmargin = {VALUE}", r"as in \[preset\.faces\.\"symmetric-0\.3\"\]"),
        ("[preset.faces]\nmargin = 0.1", r"write margin = \{ value = …, source"),
        ("[preset.faces]\nmargin = { vaule = 0.1 }", r"write margin = \{ value = …, source"),
        ("[preset.faces]\nmargn = 0.1", r"\[preset\.faces\] has no setting 'margn'; did you mean 'margin'"),
        ('[preset.faces]\nmargin = { value = "x" }', "margin = 'x' is not of type float"),
        (f"[preset]\nmargin = {VALUE}", r"presets belong to a data set"),
        (f"[presets.faces]\nmargin = {VALUE}", r"unknown table \[presets\]"),
        ("[preset.faces", "is not valid TOML"),
    ],
)
def test_a_preset_that_fits_no_setting_is_an_error(text: str, message: str, toy: Toy) -> None:
    plugin = toy("mine", CONFIG)
    plugin.path.with_suffix(".toml").write_text(text)
    with pytest.raises(PluginError, match=message):
        plugin.load()
    with pytest.raises(PluginError, match=message):
        plugin.configure("other", "clean", {})


@pytest.mark.slow
@pytest.mark.e2e
def test_broken_plugins_are_listed_and_skipped_and_harm_no_other(toy: Toy, tmp_path: Path) -> None:
    plugin = toy("sound", LOSS)
    folder = plugin.path.parent
    broken = {
        "syntax": "def broken(:",
        "missing": "import no_such_package_at_all",
        "signature": plugin_source("def loss(self, batch):\n    pass"),
        "several": plugin_source(LOSS) + "\nclass Other(Toy):\n    pass",
        "preset": plugin_source(CONFIG),
    }
    for key, text in broken.items():
        (folder / f"{key}.py").write_text(text)
    (folder / "preset.toml").write_text(f"[preset.faces]\nmargn = {VALUE}")
    taken = next(iter(discover()))
    (folder / f"{taken}.py").write_text(plugin_source(LOSS))
    listed = call("methods", "--plugins", folder, COLUMNS="400")
    assert listed.returncode == 0, listed.stderr
    for key in (*broken, taken):
        assert re.search(rf"^{key} .*broken: ", listed.stdout, re.MULTILINE), listed.stdout
    assert re.search(r"^sound +2020 ", listed.stdout, re.MULTILINE)
    keys = ",".join([*broken, "sound"])
    run = call("run", "--plugins", folder, "--methods", keys, *TINY, "--out", tmp_path / "out", COLUMNS="400")
    assert run.returncode == 0 and len(list(tmp_path.glob("out/runs/**/final.json"))) == 1, run.stdout + run.stderr
    assert all(f"skipped  {key}: " in run.stdout for key in broken), run.stdout


def test_a_package_that_breaks_when_looked_into_harms_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fer_broken_package").mkdir()
    (tmp_path / "fer_broken_package" / "__init__.py").write_text("raise RuntimeError('no luck')")
    info = tmp_path / "fer_broken_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fer-broken-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fer_bench.methods]\nunlucky = fer_broken_package.method\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = discover()
    assert "RuntimeError: no luck" in found["unlucky"].error and found["unlucky"].origin == "package fer-broken-package"
    assert not any(plugin.error for key, plugin in found.items() if key != "unlucky")
