"""The card of a method can be read on a terminal of 80 columns."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from fer_bench.cli.main import main


@pytest.mark.parametrize("key", ["nla", "dividemix", "mentornet", "ce"])
def test_settings_have_room_at_80_columns(key: str) -> None:
    shown = CliRunner().invoke(main, ["methods", key], env={"COLUMNS": "80"})
    assert shown.exit_code == 0 and max(map(len, shown.output.splitlines())) <= 80
    if key == "dividemix":
        (line,) = [line.rstrip() for line in shown.output.splitlines() if line.startswith("alpha = 4.0")]
        assert line.endswith("shape of mixup's Beta distribution"), "a meaning of 34 letters is one line"
