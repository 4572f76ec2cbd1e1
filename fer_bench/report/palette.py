"""The colours of methods, the same in plots and pages.

The colours are those of Okabe and Ito ("Color Universal Design", 2008) and two dark ones of Paul Tol's scheme "muted",
which readers with any kind of colour blindness tell apart; on a dark ground, lighter ones of the same hues.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

LIGHT = ("#30343c", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#882255", "#332288")
"""Colours on a light ground. The first is the neutral one of the baseline."""

DARK = ("#e7e8ec", "#2b95d6", "#ff8340", "#16c493", "#f2a3cc", "#f2c14e", "#93d5fb", "#d6518f", "#b0a4ff")
"""The colours of ``LIGHT`` on a dark ground."""

NEUTRAL = 0
"""Place of the colour of the baseline."""

SALT = "984"
"""Goes into the hash of a name; chosen so that the built-in methods spread evenly over the colours."""


def places(rows: Iterable[str], baseline: str = "") -> dict[str, int]:
    """Place in ``LIGHT`` of the colour of each row.

    A row has the colour that a hash of its name chooses, whatever its position and whatever the other rows are. Where
    there are no more rows than colours, a row whose colour another one has already takes the next free one.

    Args:
        rows: Names of rows.
        baseline: The row with the neutral colour; "" for none.
    """
    count = len(LIGHT) - 1
    found = {name: 1 + _hash(name) % count for name in rows}
    others = sorted((name for name in found if name != baseline), key=lambda name: (_hash(name), name))
    if len(others) <= count:
        free = set(range(count))
        for name in others:
            place = next(k % count for k in range(found[name] - 1, 2 * count) if k % count in free)
            free.remove(place)
            found[name] = 1 + place
    return {**found, baseline: NEUTRAL} if baseline else found


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{SALT}{name}".encode(), digest_size=4).digest(), "big")
