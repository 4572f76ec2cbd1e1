"""Figures of finished runs."""

OVERVIEW = ("accuracy", "noise", "imbalance", "joint", "ranks")
"""Kinds of figures that show all conditions together."""

KINDS = (*OVERVIEW, "recall", "confusion", "curves")
"""All kinds of figures of a sweep."""
