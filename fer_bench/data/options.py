"""How a data set is to be read: what its files do not say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from fer_bench.core.errors import nearest, require

ROLES = ("path", "label", "split", "group", "reference", "id", "landmarks")
"""What a column of a table can be."""

VOTES = "votes"
"""Stands for all columns of votes, which are found by their names."""

Ties = Literal["drop", "first", "distribution"]

TIES = get_args(Ties)

Dedup = Literal["", "exact", "near"]

DEDUP = get_args(Dedup)


@dataclass(frozen=True)
class ReadOptions:
    """Options of reading a data set.

    Attributes:
        columns: Columns of a table by role: the name of a column, its number from 1, or "none" for no column. "votes"
            can be "none" only.
        group_by: Who or what an image shows: a column of a table, or a regular expression on the ids of images, whose
            first group (or whole match) names it. "" looks for well-known columns, names of files and sub-folders;
            "none" does not.
        ties: What an image becomes whose votes tie: it is left out, gets the first of these classes, or one of them by
            a hash of its id.
        dedup: Which training images are left out: none, exact copies of held-out images, or near copies, too.

    Raises:
        SpecError: There is no such role, rule or kind of copy.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    group_by: str = ""
    ties: Ties = "drop"
    dedup: Dedup = ""

    def __post_init__(self) -> None:
        for role, column in self.columns.items():
            require(role in (*ROLES, VOTES), f"--columns {role}=…: no such role{nearest(role, (*ROLES, VOTES))}")
            require(
                role != VOTES or column == "none",
                f"--columns votes={column}: columns of votes are found by the names of classes; votes=none uses none",
            )
        require(self.ties in TIES, f"--ties {self.ties}{nearest(self.ties, TIES)}")
        require(self.dedup in DEDUP, f"--dedup {self.dedup}{nearest(self.dedup, DEDUP[1:])}")

    @property
    def text(self) -> str:
        """One line that is equal for equal options only."""
        return repr((sorted(self.columns.items()), self.group_by, self.ties, self.dedup))


AS_IT_IS = ReadOptions()
"""Nothing is said about the files, and no image is left out."""
