"""How tables, figures and pages name the labels that the methods should not have learned."""

from __future__ import annotations

from collections.abc import Iterable

GIVEN = "given"
"""Source of clean labels where there is no reference: the data set's own labels before noise was injected."""


def wrong_labels(sources: Iterable[str]) -> str:
    """The name for labels that differ from the clean label.

    Args:
        sources: "reference" or ``GIVEN`` for each run.

    Returns:
        "wrong labels". If any run has no reference labels it is "corrupted labels": then only the labels that injected
        noise changed are known, and other errors of the data set are not.
    """
    return "corrupted labels" if GIVEN in set(sources) else "wrong labels"


def no_reference_note(datasets: Iterable[str]) -> str:
    """The note that says what corrupted labels are."""
    return (
        f"Corrupted labels: labels changed by injected noise. {', '.join(datasets)} has no reference labels, so errors "
        "of its own labels are unknown and count as correct."
    )


def sentence_case(text: str) -> str:
    """The text with a capital first letter; the rest stays as it is."""
    return text[:1].upper() + text[1:]
