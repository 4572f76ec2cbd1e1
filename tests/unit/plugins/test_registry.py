"""Discovery: three sources, one map, and a broken plugin harms no other."""

from __future__ import annotations

import importlib.metadata
import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from fer_bench.cli.views.cards import method_card
from fer_bench.cli.views.terminal import PlainConsole
from fer_bench.core.errors import (
    PluginError,  # fmt: skip
    SpecError,
)
from fer_bench.method import FAMILIES
from fer_bench.plugins.registry import Plugin, choose, describe_config, discover, plugin_folders, settings_by_method
from fer_bench.sweep.settings import settings_file
from tests.helpers.plugins import LOSS, plugin_source

CONFIG = (
    LOSS
    + """
@dataclass(frozen=True)
class Config:
    margin: float = hparam(0.5, "the margin")
    steps: int = hparam(3, "steps")
"""
)


def shown(plugin: Plugin) -> str:
    """The card of a method."""
    console = PlainConsole(record=True, width=400, file=io.StringIO())
    console.print(method_card(plugin))
    return console.export_text()


def write(folder: Path, key: str, text: str) -> Plugin:
    folder.mkdir(exist_ok=True)
    (folder / f"{key}.py").write_text(text)
    return discover([folder])[key]


def test_a_card_shows_what_the_search_chose_for_the_preset_quick(tmp_path: Path) -> None:
    file = settings_file(None, "quick")
    assert file is not None
    for key, found in file.content.methods.items():
        card = shown(discover()[key])
        assert all(f"{name} = {value!r}" in card for name, value in {**found.recipe, **found.settings}.items()), key
        assert f"{100 * (found.validation or 0):.1f} % on noisy validation labels" in card
        why = "none of the others is better" if (found.trials or 0) > 1 else "the budget allows no other"
        assert (why in " ".join(card.split())) == (not found.trial)
    assert "preset quick" not in shown(write(tmp_path / "p", "mine", plugin_source(LOSS)))


def test_built_in_methods_are_found_without_being_imported() -> None:
    found = discover()
    assert len(found) >= 8 and list(found) == sorted(found)
    assert {plugin.origin for plugin in found.values()} == {"built in"} and not any(
        plugin.error for plugin in found.values()
    )


def test_discovery_runs_no_plugin(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    plugin = write(
        tmp_path / "p",
        "loud",
        f"open({str(mark)!r}, 'w').close()\n" + plugin_source(LOSS).replace("from __future__", "#"),
    )
    assert not mark.exists() and plugin.code
    assert plugin.load().info.title == "Toy" and mark.exists()


def test_a_file_or_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "p", "mine", plugin_source(LOSS))
    for name in ("_helper.py", "test_mine.py", "conftest.py", "notes.txt"):
        (tmp_path / "p" / name).write_text("raise SystemExit")
    assert discover([tmp_path / "p"]).keys() - discover().keys() == {"mine"}
    assert discover([tmp_path / "p" / "mine.py"])["mine"].origin == str(tmp_path / "p" / "mine.py")
    with pytest.raises(SpecError, match=r"--plugins .*absent: no such file or folder"):
        discover([tmp_path / "absent"])


def test_the_variable_names_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FER_BENCH_PLUGINS", f"{tmp_path}:/other")
    assert plugin_folders(["given"]) == ["given", str(tmp_path), "/other"]
    monkeypatch.delenv("FER_BENCH_PLUGINS")
    assert plugin_folders([]) == []


def test_entry_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fer_outsider.py").write_text(plugin_source(LOSS))
    monkeypatch.syspath_prepend(str(tmp_path))
    entries = [
        SimpleNamespace(
            name="outside", module="fer_outsider", value="fer_outsider", dist=SimpleNamespace(name="their-package")
        ),
        SimpleNamespace(name="gone", module="fer_no_such_module", value="fer_no_such_module", dist=None),
    ]
    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda group: entries if group == "fer_bench.methods" else []
    )
    found = discover()
    assert found["outside"].origin == "package their-package" and found["outside"].load().info.title == "Toy"
    assert "fer_outsider" not in sys.modules
    with pytest.raises(PluginError, match=r"entry point gone: no module fer_no_such_module"):
        found["gone"].load()


def test_an_entry_point_of_a_missing_package_harms_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = SimpleNamespace(name="gone", module="fer_no_such_package.module", value="x", dist=None)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [entry])
    found = discover()
    assert found["gone"].error and len(found) >= 9


def test_two_claims_on_one_key_name_both_places(tmp_path: Path) -> None:
    key = next(iter(discover()))
    plugin = write(tmp_path / "p", key, plugin_source(LOSS))
    assert str(tmp_path / "p" / f"{key}.py") in plugin.error and "built in" in plugin.error
    with pytest.raises(PluginError, match="two plugins claim the key"):
        plugin.load()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def broken(:", "SyntaxError"),
        ("import no_such_package_at_all", "ModuleNotFoundError: No module named 'no_such_package_at_all'"),
        ("import sys\nsys.exit(3)", "SystemExit: 3"),
        ("x = 1", "exactly one subclass .* not 0"),
        (plugin_source(LOSS) + "\nclass Other(Toy):\n    pass", "exactly one subclass .* not 2"),
        (plugin_source(LOSS).replace('info = Info(title="Toy"', 'other = Info(title="Toy"'), "info must be"),
    ],
)
def test_a_broken_plugin_is_listed_with_its_reason(text: str, message: str, tmp_path: Path) -> None:
    plugin = write(tmp_path / "p", "broken", text)
    assert len(plugin.code) == 12
    with pytest.raises(PluginError, match=message):
        plugin.load()
    if "Error" in message or "Exit" in message:  # it stopped half-way: no torso may stay behind
        assert not [m for m in list(sys.modules.values()) if getattr(m, "__file__", None) == str(plugin.path)]


def test_keys_are_lower_case_words(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="'My-Method' is not a method key"):
        write(tmp_path / "p", "My-Method", plugin_source(LOSS)).load()


def test_the_code_hash_is_of_the_code_alone(tmp_path: Path) -> None:
    source = plugin_source(LOSS.replace("    return", '    """What it does."""\n    return'))
    code = write(tmp_path / "p", "mine", source).code
    for same in (
        source.replace("What it does.", "Other words."),
        source + "\n\n# a comment\n",
        source.replace("    return", "    return  "),
    ):
        assert write(tmp_path / "p", "mine", same).code == code
    assert write(tmp_path / "p", "mine", source.replace("batch.view()", "batch.view('weak')")).code != code


def test_an_edited_plugin_is_loaded_anew(tmp_path: Path) -> None:
    """In a notebook, the same process sees both."""
    assert write(tmp_path, "mine", plugin_source(LOSS)).load().info.title == "Toy"
    assert write(tmp_path, "mine", plugin_source(LOSS).replace("Toy", "Edited")).load().info.title == "Edited"


def test_a_path_means_a_file_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for title in ("Here", "There"):
        (tmp_path / title).mkdir()
        (tmp_path / title / "mine.py").write_text(plugin_source(LOSS).replace("Toy", title))
        monkeypatch.chdir(tmp_path / title)
        assert discover(["mine.py"])["mine"].load().info.title == title


def test_choose() -> None:
    found = discover()
    assert choose(["all"], found) == list(found)
    assert choose(["c*"], found) == [key for key in found if key.startswith("c")]
    key = next(iter(found))
    assert choose([key, key, f"{key[0]}*"], found)[0] == key
    for patterns, message in (
        (["jocr"], "unknown method 'jocr'; did you mean 'jocor'"),
        ([], "no method was named"),
        (["jocr"], r"\? A method of your own needs --plugins FILE$"),
        (["zz*"], "unknown method 'zz[*]'; there are: .*; a method of your own needs --plugins FILE$"),
        (["family:losse"], "unknown family 'losse'; did you mean 'losses'"),
        (["family:zz"], "unknown family 'zz'; there are: baseline, early-learning, "),
    ):
        with pytest.raises(SpecError, match=message):
            choose(patterns, found)


def test_a_file_in_the_place_of_a_method_is_told_its_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "mine.py").write_text("")
    for name in ("own/mine.py", "own/mine"):
        with pytest.raises(SpecError, match=r"--plugins own/mine\.py, and its method is 'mine'"):
            choose([name], discover())


def test_methods_of_a_family() -> None:
    found = discover()
    assert choose(["family:losses"], found) == ["forward_correction", "gce", "nce_rce", "sce"]
    assert choose(["family:baseline", "gce"], found) == ["ce", "gce"]
    members = [key for family in FAMILIES for key in choose([f"family:{family}"], found)]
    assert sorted(members) == choose(["all"], found), "every built-in method is of one family"


@pytest.mark.parametrize("plugin", discover().values(), ids=lambda plugin: plugin.key)
def test_a_built_in_card_says_how_settings_scale(plugin: Plugin) -> None:
    scaling = plugin.load().info.scaling
    assert scaling.endswith(".") and scaling in " ".join(shown(plugin).split())


def test_a_plugin_of_ones_own_may_name_a_family(tmp_path: Path) -> None:
    source = plugin_source(LOSS)
    write(tmp_path / "p", "none", source)
    write(tmp_path / "p", "mine", source.replace('kind="baseline"', 'kind="baseline", family="losses"'))
    found = discover([write(tmp_path / "p", "wrong", source.replace('kind="', 'family="lossy", kind="')).path.parent])
    assert {"mine", "none", "wrong"} & set(choose(["family:losses"], found)) == {"mine"}
    with pytest.raises(PluginError, match="family 'lossy' is none of baseline, losses"):
        found["wrong"].load()


def test_all_leaves_broken_plugins_out(tmp_path: Path) -> None:
    write(tmp_path / "p", "Not-A-Key", "")
    found = discover([tmp_path / "p"])
    assert "Not-A-Key" in found and "Not-A-Key" not in choose(["all"], found)


def test_settings_are_parsed_as_toml() -> None:
    given = ["a.x=1", "a.y = 0.5", "a.z=word", "a.q='quoted'", "b.flag=true", "b.list=[1, 2]"]
    assert settings_by_method(given) == {
        "a": {"x": 1, "y": 0.5, "z": "word", "q": "quoted"}, "b": {"flag": True, "list": [1, 2]},
    }  # fmt: skip
    for wrong in ("a.x", "x=1", "=1", "a.=1", ".x=1"):
        with pytest.raises(SpecError, match=r"not of the form method.field=value"):
            settings_by_method([wrong])
    with pytest.raises(SpecError, match=r"--set gives a\.x twice"):
        settings_by_method(["a.x=1", "b.x=1", "a.x = 1"])


@pytest.mark.parametrize("value", ["7" * 5000, "[" * 5000])
def test_a_setting_that_cannot_be_read_is_named(value: str) -> None:
    with pytest.raises(SpecError, match=r"^--set a\.x: the value cannot be read"):
        settings_by_method([f"a.x={value}"])


def test_configure_puts_settings_over_presets_over_defaults(tmp_path: Path) -> None:
    plugin = write(tmp_path / "p", "mine", plugin_source(CONFIG))
    (tmp_path / "p" / "mine.toml").write_text(
        '[preset.faces]\nmargin = { value = 0.1, source = "x" }\n'
        '[preset.faces."symmetric-0.3"]\nmargin = { value = 0.2, source = "x" }\nsteps = { value = 7, source = "x" }\n'
    )

    def config(dataset: str, noise: str, **settings: object) -> dict[str, object]:
        return describe_config(plugin.configure(dataset, noise, settings))

    assert config("other", "clean") == {"margin": 0.5, "steps": 3}
    assert config("faces", "clean") == {"margin": 0.1, "steps": 3}
    assert config("faces", "symmetric 0.3") == {"margin": 0.2, "steps": 7}
    assert config("faces", "symmetric 0.3", steps=1) == {"margin": 0.2, "steps": 1}
    assert plugin.restore_config(config("faces", "clean")) == plugin.configure("faces", "clean", {})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"margn": 1}, "mine has no setting 'margn'; did you mean 'margin'"),
        ({"steps": 1.5}, r"mine\.steps = 1\.5 is not of type int"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, object], message: str, tmp_path: Path) -> None:
    plugin = write(tmp_path / "p", "mine", plugin_source(CONFIG))
    with pytest.raises(SpecError, match=message):
        plugin.configure("faces", "clean", settings)


def test_presets_of_built_in_methods_fit_their_settings() -> None:
    """A preset's table names either a setting, with value and source, or a noise, whose table does the same."""
    for key, plugin in discover().items():
        plugin.configure("synthetic", "clean", {})
        for dataset, table in plugin.presets().items():
            noises = [n for n, entry in table.items() if "value" not in entry]
            for noise in ["clean", *noises]:
                plugin.configure(dataset, noise.replace("-", " "), {})
            known = set(describe_config(plugin.configure(dataset, "clean", {})))
            for values in [{n: e for n, e in table.items() if n not in noises}, *(table[n] for n in noises)]:
                assert set(values) <= known, (
                    f"{key}.toml, preset {dataset}: unknown settings {sorted(set(values) - known)}"
                )
                assert all(entry.get("source") for entry in values.values()), (
                    f"{key}.toml, preset {dataset}: a value has no source"
                )
