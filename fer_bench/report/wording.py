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
        "wrong labels". If any run has no reference labels it is "labels of injected noise": then only the labels that
        injected noise changed are known, and other errors of the data set are not.
    """
    return "labels of injected noise" if GIVEN in set(sources) else "wrong labels"


def correct_labels(sources: Iterable[str]) -> str:
    """The name for labels that equal the clean label; arguments as for :func:`wrong_labels`.

    Without reference labels it is only known that injected noise did not change them, not that they are correct.
    """
    return "unchanged labels" if GIVEN in set(sources) else "correct labels"


def clean_label_verb(sources: Iterable[str]) -> str:
    """What joins a face with a wrong label to its clean label: "is anger", or "given as anger" without reference."""
    return "given as" if GIVEN in set(sources) else "is"


def singular(labels: str) -> str:
    """One of the labels that :func:`wrong_labels` or :func:`correct_labels` names."""
    return labels.replace("labels", "label")


def no_reference_note(datasets: Iterable[str]) -> str:
    """The note on labels that nobody knows to be right."""
    return (
        f"{', '.join(datasets)}: the labels are as given. Nobody knows which of them are wrong, so only labels that "
        "were changed by injected noise are counted."
    )


def sentence_case(text: str) -> str:
    """The text with a capital first letter; the rest stays as it is."""
    return text[:1].upper() + text[1:]


def signed(number: float, form: str) -> str:
    """A number with a real minus; zero has no sign."""
    text = format(number, form)
    if not text.strip("+-0.e"):
        text = text.lstrip("+-")
    return text.replace("-", "\N{MINUS SIGN}")
