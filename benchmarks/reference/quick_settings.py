"""The settings that the preset quick brings: those that the search `tune-quick` chose."""

from __future__ import annotations

from fer_bench.core.errors import SpecError
from fer_bench.core.files import write_atomically
from fer_bench.core.presets import preset_path
from fer_bench.sweep.record import Sweep
from fer_bench.sweep.trials import trials_of
from fer_bench.sweep.tuned import tuned_settings

SWEEP = "tune-quick"
FILE = preset_path("quick").with_suffix(".settings.toml")
HEADER = f"""\
# Settings of the preset quick, chosen by `python -m benchmarks.reference run {SWEEP}` on drawn faces of other people
# than those of `synthetic`. `fer-bench run --preset quick` uses them; `--settings default` leaves them out.
# Written by `python -m benchmarks.reference settings`.
"""


def text(sweep: Sweep) -> str:
    """What the file says after the search ``sweep``; SpecError while one of its trials is not finished."""
    chosen = tuned_settings(sweep, trials_of(sweep))
    if chosen is None:
        raise SpecError(f"{sweep.name} has unfinished trials; python -m benchmarks.reference run {SWEEP} trains them")
    return chosen.to_toml(HEADER)


def write(sweep: Sweep) -> None:
    """Writes the file."""
    write_atomically(FILE, text(sweep).encode())
