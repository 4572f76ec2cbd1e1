"""One spelling of classes, splits and image names, for readers of data sets and of noise files alike."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

EMOTIONS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
"""Names of the basic expressions, so that a class has one name in every data set. The order is that of FERPlus."""

IMAGE_SUFFIXES = (
    ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".mpo", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff",
    ".webp",
)  # fmt: skip
"""Suffixes of the files that count as images, in small letters."""

_EMOTION_WORDS = {
    "neutrality": "neutral", "happy": "happiness", "surprised": "surprise", "sad": "sadness", "angry": "anger",
    "disgusted": "disgust", "fearful": "fear", "afraid": "fear", "contemptuous": "contempt",
}  # fmt: skip


def class_name(word: str) -> str:
    """The name of the class that a folder, a table or a list calls ``word``.

    Basic expressions get the names of :data:`EMOTIONS` ("Happy" is "happiness"), a number loses its fraction ("3.0" is
    "3"), and every other name stays as it is written.
    """
    plain = word.strip()
    lower = plain.lower()
    if re.fullmatch(r"\d+\.0+", plain):
        return plain.partition(".")[0]
    return _EMOTION_WORDS.get(lower, lower if lower in EMOTIONS else plain)


def class_order(names: Iterable[str]) -> tuple[str, ...]:
    """Distinct class names in their order: numbers by value, other names by the alphabet."""
    distinct = set(names)
    numeric = all(name.isdecimal() for name in distinct)
    return tuple(sorted(distinct, key=lambda name: (int(name) if numeric else 0, name)))


def image_path(text: str) -> str:
    """The path of an image with "/" between its parts, without a drive and without "./" at its beginning."""
    plain = re.sub(r"^[A-Za-z]:(?=[\\/])", "", text.strip()).replace("\\", "/")
    return re.sub(r"^(\./)+", "", plain)


def without_suffix(path: str) -> str:
    """The path of an image without the suffix of its format, and without RAF-DB's ``_aligned``."""
    pure = PurePosixPath(path)
    known = pure.suffix.lower() in IMAGE_SUFFIXES
    return (str(pure.with_suffix("")) if known else path).removesuffix("_aligned")
