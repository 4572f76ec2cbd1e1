"""Lists and cards: the record of golden cases is that of the code as it is; published numbers go where they belong."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from rich.console import Console

from fer_bench.cli.main import main
from fer_bench.cli.views import cards
from fer_bench.plugins.registry import GOLDEN, Plugin, discover
from tests.helpers.golden_record import counts
from tests.helpers.plugins import LOSS, plugin_source

VECTORS = Path(__file__).parent / "vectors"
METHODS = sorted(key for key, plugin in discover().items() if plugin.origin == "built in")


@pytest.mark.parametrize("key", METHODS)
def test_the_record_is_current(key: str) -> None:
    vectors = VECTORS / f"{key}.json"
    golden = discover()[key].golden
    if not vectors.exists():
        assert golden is None, f"{key} has a record without cases"
        return
    assert golden is not None and golden.current, f"the code of {key} changed: run `make golden`"
    cases = sum(counts(key, case["name"]) for case in json.loads(vectors.read_text())["cases"])
    assert golden.cases == cases, f"{key} has other cases: run `make golden`"


def test_the_status_follows_the_code(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(plugin_source(LOSS))
    plugin = Plugin("mine", path, str(tmp_path))
    assert plugin.golden is None
    (tmp_path / GOLDEN).write_text(json.dumps({"mine": {"code": plugin.code, "cases": 24}}))
    assert shown(tmp_path) == "golden: 24 cases"
    path.write_text(plugin_source("# only words\n" + LOSS))
    assert shown(tmp_path) == "golden: 24 cases"
    path.write_text(plugin_source(LOSS.replace("F.cross", "2 * F.cross")))
    assert shown(tmp_path) == "golden: not for this code"
    (tmp_path / GOLDEN).write_text(json.dumps({"other": {"code": "0", "cases": 1}}))
    assert shown(tmp_path) == "golden: –"


def shown(folder: Path) -> str:
    """The status on the card; the list must agree."""
    lines = CliRunner().invoke(main, ["methods", "mine", "--plugins", str(folder)]).output.splitlines()
    (said,) = (line for line in lines if line.startswith("golden: "))
    row = next(
        line
        for line in CliRunner().invoke(main, ["methods", "--plugins", str(folder)]).output.splitlines()
        if line.startswith("mine ")
    )
    word = said.removeprefix("golden: ").removesuffix(" cases")
    assert f" {'stale' if word == 'not for this code' else word} " in row
    return said


SEEN = {
    "paper": "LA-Net (ICCV 2023)",
    "table": "Table 1",
    "dataset": "RAF-DB",
    "noise_type": "symmetric",
    "noise_rate": 0.1,
    "backbone": "ResNet-18",
    "overall_acc": 88.75,
    "mean_acc": None,
    "std": 0.11,
    "doubt": "",
}


@pytest.mark.parametrize(
    ("written", "key", "same"),
    [
        ("LA-Net", "lanet", True), ("Co-teaching+", "coteaching_plus", True), ("Co-teaching+", "coteaching", False),
        ("Co-teaching", "coteaching", True), ("MEK: RSL only", "mek", True), ("CE baseline", "ce", True),
        ("Face2Exp (Meta-Face2Exp)", "face2exp", True), ("SCN", "ce", False), ("RUL", "rul", True),
    ],
)  # fmt: skip
def test_names_of_papers_and_keys(written: str, key: str, same: bool) -> None:
    assert cards.is_method(written, key) == same


def test_the_card_shows_the_published_numbers_of_its_method_only() -> None:
    numbers = [
        SimpleNamespace(**SEEN, method="LA-Net"),
        SimpleNamespace(**{**SEEN, "overall_acc": 77.77, "doubt": "whose?"}, method="SCN"),
    ]
    assert "88.75 ± 0.11" in card("lanet", numbers) and "77.77" not in card("lanet", numbers)
    assert "77.77" in card("scn", numbers) and "whose?" in card("scn", numbers)
    assert "published" not in card("nla", numbers), "no number is shown that was not seen"


def card(key: str, numbers: list[SimpleNamespace]) -> str:
    shown = io.StringIO()
    Console(width=200, file=shown).print(cards.method_card(discover()[key], numbers))
    return shown.getvalue()
