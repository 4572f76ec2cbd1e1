"""The table [search] of a method's TOML file."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fer_bench.core.errors import PluginError
from fer_bench.plugins.ranges import Range
from fer_bench.plugins.registry import Plugin, discover

BODY = """
@dataclass(frozen=True)
class Config:
    lam: float = hparam(1.0, "weight")
    warm: float | None = hparam(None, "share")
    steps: int = hparam(3, "steps")
    variant: str = hparam("a", "which")
    plus: bool = hparam(False, "more")

def loss(self, batch, run):
    return F.cross_entropy(self.net(batch.view()), batch.label)
"""


@pytest.fixture
def plugin(toy: Callable[..., Plugin]) -> Plugin:
    return toy("mine", BODY)


def test_ranges_are_read(plugin: Plugin) -> None:
    plugin.path.with_suffix(".toml").write_text("""
[search]
lam = { low = 1, high = 5.0, log = true }
warm = { low = 0.1, high = 0.5 }
steps = { low = 1, high = 9 }
variant = { choices = ["a", "b"] }
plus = { choices = [false, true] }

[preset.rafdb]
lam = { value = 2.0, source = "the paper" }
""")
    assert plugin.search == {
        "lam": Range(1.0, 5.0, log=True),
        "warm": Range(0.1, 0.5),
        "steps": Range(1, 9),
        "variant": Range(choices=("a", "b")),
        "plus": Range(choices=(False, True)),
    }
    assert isinstance(plugin.search["steps"].low, int) and plugin.search["lam"].low == 1.0
    assert plugin.configure("rafdb", "clean", {}).lam == 2.0, "presets are beside it"


def test_a_method_without_the_table_is_fine(plugin: Plugin) -> None:
    assert plugin.search == {}
    plugin.path.with_suffix(".toml").write_text("[preset.rafdb]\nlam = { value = 2.0 }\n")
    assert plugin.search == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[search]\nlamb = { low = 1.0, high = 2.0 }", r"\[search\] has no setting 'lamb'; did you mean 'lam'"),
        ("[search]\nlam = 3", r"\[search\]\.lam: write \{ low = "),
        ("[search]\nlam = { low = 1.0 }", r"\[search\]\.lam: write \{ low = "),
        ("[search]\nlam = { low = 1.0, hihg = 2.0 }", r"has no 'hihg'; did you mean 'high'\?"),
        ("[search]\nlam = { low = 2.0, high = 2.0 }", r"low = 2\.0 is not below high = 2\.0"),
        ("[search]\nlam = { low = 0.0, high = 2.0, log = true }", r"a log scale needs low > 0, not 0\.0"),
        ("[search]\nlam = { low = 1.0, high = 2.0, log = 1 }", r"lam\.log = 1 is not of type bool"),
        ('[search]\nlam = { low = "a", high = 2.0 }', r"lam\.low = 'a' is not of type float"),
        ("[search]\nsteps = { low = 1.5, high = 2 }", r"steps\.low = 1\.5 is not of type int"),
        ("[search]\nvariant = { choices = [] }", "choices must be a list that is not empty"),
        ("[search]\nvariant = { choices = [1] }", r"variant = 1 is not of type str"),
        ('[search]\nvariant = { low = "a", high = "b" }', "bounds are numbers"),
        ("[search]\nplus = { low = false, high = true }", "bounds are numbers"),
        ("[search]\nlam = { choices = [1.0], low = 1.0 }", "either choices or bounds"),
        ("search = 3", r"ranges are entries of a table \[search\]"),
        ("[serach]\nlam = 3", r"unknown table \[serach\]"),
    ],
)
def test_a_wrong_range_is_named(plugin: Plugin, text: str, message: str) -> None:
    plugin.path.with_suffix(".toml").write_text(text)
    with pytest.raises(PluginError, match=message):
        plugin.load()


def test_ranges_change_no_run(plugin: Plugin) -> None:
    before = plugin.code
    plugin.path.with_suffix(".toml").write_text("[search]\nlam = { low = 1.0, high = 5.0 }\n")
    assert plugin.code == before and plugin.configure("rafdb", "clean", {}).lam == 1.0


@pytest.mark.parametrize("plugin_of", discover().values(), ids=lambda plugin: plugin.key)
def test_built_in_ranges_hold_settings_that_a_method_takes(plugin_of: Plugin) -> None:
    for name, found in plugin_of.search.items():
        for value in found.choices or (found.low, found.high):
            plugin_of.configure("none", "clean", {name: value})


@pytest.mark.parametrize("plugin_of", discover().values(), ids=lambda plugin: plugin.key)
def test_built_in_ranges_hold_the_default(plugin_of: Plugin) -> None:
    """The default is the paper's value, or None where it depends on the length of the training."""
    defaults = plugin_of.load().Config()
    assert plugin_of.search or plugin_of.key == "ce"
    for name, found in plugin_of.search.items():
        value = getattr(defaults, name)
        inside = value in found.choices if found.choices or value is None else found.low <= value <= found.high
        assert inside or value is None, f"{name} = {value} is outside of {found}"
