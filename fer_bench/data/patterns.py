"""File names of well-known data sets that say who is in an image and, in some of them, what is shown."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Pattern:
    """File names that say who is in the image.

    Attributes:
        title: The data set, with an example.
        regex: Matches the beginning of a name; its first group is the person.
        label: Matches the beginning of a name; its first group is the expression. "" if names do not say that.
    """

    title: str
    regex: str
    label: str = ""

    def person(self, stem: str) -> str | None:
        """Who is in an image, by the name of its file; None for a name of another kind."""
        found = re.match(rf"{self.regex}(?![^\W_])", stem)
        return found and found[1]

    def expression(self, stem: str) -> str | None:
        """What is shown in an image, by the name of its file; None if the name does not say it."""
        found = re.match(self.label, stem) if self.label else None
        return found and CODES.get(found[1], found[1])


CODES = {
    "AF": "fear", "AN": "anger", "DI": "disgust", "FE": "fear", "HA": "happiness", "NE": "neutral", "SA": "sadness",
    "SU": "surprise",
}  # fmt: skip
"""Expressions by the letters in file names of JAFFE and KDEF."""

PATTERNS = (
    Pattern("CK+ (S010_001_00000015)", r"(S\d{3})_\d{3}_\d{8}"),
    Pattern(
        "JAFFE (KA.AN1.39)",
        r"([A-Z]{2})\.(?:AN|DI|FE|HA|NE|SA|SU)\d\.\d+",
        r"[A-Z]{2}\.(AN|DI|FE|HA|NE|SA|SU)\d\.\d+",
    ),
    Pattern(
        "KDEF (AF01ANS)",
        r"[AB]([FM]\d{2})(?:AF|AN|DI|HA|NE|SA|SU)(?:FL|FR|HL|HR|S)",
        r"[AB][FM]\d{2}(AF|AN|DI|HA|NE|SA|SU)(?:FL|FR|HL|HR|S)",
    ),
    Pattern(
        "RaFD (Rafd090_01_Caucasian_female_angry_frontal)",
        r"Rafd\d{3}_(\d{2})_\w+",
        r"Rafd\d{3}_\d{2}_\w+_(angry|contemptuous|disgusted|fearful|happy|neutral|sad|surprised)_",
    ),
    Pattern("LFW (George_W_Bush_0001)", r"([A-Za-z][A-Za-z.'-]*(?:_[A-Za-z.'-]+)+)_\d{4}"),
)
