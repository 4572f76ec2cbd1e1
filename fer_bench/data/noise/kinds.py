"""The kinds of label noise, their names, and what they need."""

from __future__ import annotations

from dataclasses import dataclass

from fer_bench.core.errors import nearest
from fer_bench.core.files import checksum

READING = 2
"""How files of label noise are read. It is raised where the same file gives other labels than before, so that no old
run counts as one of now."""


def file_digest(content: bytes) -> str:
    """Names a file of label noise in the key of a run: the hash of its content, and how it is read."""
    return f"sha256:{checksum(content)}, reading {READING}"


@dataclass(frozen=True)
class Kind:
    """One kind of label noise.

    Attributes:
        about: What it does, in a line.
        rate: Whether it takes a rate; the others have the rate of their data.
        needs: What it cannot do without: "pixels", "votes", "human", "file" or "".
    """

    about: str
    rate: bool = True
    needs: str = ""


KINDS = {
    "none": Kind("labels as they are", rate=False),
    "symmetric": Kind(
        "to any other class with equal probability (the FER papers' noise: SCN, EAC, LA-Net, Co-teaching)"
    ),
    "symmetric-inclusive": Kind("a new label from all classes, the true one included (DivideMix): wrong is r (C-1)/C"),
    "pair": Kind("to the next class in the data set's order (Co-teaching); rate below 0.5"),
    "class-dependent": Kind("to the one expression that resembles it most (LA-Net's map)"),
    "frequency": Kind("to other classes in proportion to their size (RoLT's 'imb')"),
    "confusion": Kind("to other classes as in a confusion matrix from a csv file", needs="file"),
    "instance": Kind("depending on the image: part-dependent noise, random projections of the pixels", needs="pixels"),
    "instance-hard": Kind(
        "the images that a clean-trained network finds hardest, to its favourite wrong class", needs="file"
    ),
    "human": Kind("a second human label of the same image (FER2013's own labels for FERPlus)", False, "human"),
    "votes": Kind("the vote of one annotator, drawn from all of an image's votes", False, "votes"),
    "file": Kind("labels from a list '<image> <label>', such as EAC's and SCN's for RAF-DB", False, "file"),
}
"""Every kind of noise by name."""

MODES = {
    "exact": "exactly round(rate * N) wrong labels, shared among the classes by their size",
    "bernoulli": "each label is wrong with probability rate, as in the published FER noise files",
}
"""How many labels are wrong."""

ALIASES = {
    "clean": "none",
    "sym": "symmetric",
    "symm": "symmetric",
    "uniform": "symmetric",
    "symmetric-exclusive": "symmetric",
    "pairflip": "pair",
    "pair-flip": "pair",
    "idn": "instance",
    "instance-dependent": "instance",
    "pdn": "instance",
    "ptd": "instance",
    "part-dependent": "instance",
}
"""Names that papers and their code give to these kinds."""

_TO_ONE = "pair (to the next class) or class-dependent (LA-Net's map of similar expressions)"

AMBIGUOUS = {
    **dict.fromkeys(("asymmetric", "asym", "asymm", "flip"), _TO_ONE),
    **dict.fromkeys(("class-conditional", "ccn", "cdn"), f"{_TO_ONE}, or confusion (a matrix of your own)"),
    "random": "symmetric (to any other class) or symmetric-inclusive (to any class, the true one included)",
    "semantic": "class-dependent (LA-Net's map of similar expressions) or instance-hard (the hardest images)",
    "real": "human (a second label of the same image), votes (one annotator's) or file (a list of labels)",
}
"""Names that papers give to several of these kinds, and which."""


def find_kind(name: str) -> str:
    """Finds the name in :data:`KINDS` of a kind of noise; names that papers use are understood.

    Raises:
        ValueError: The name is unknown, or papers give it to several kinds; the message says which.
    """
    plain = name.strip().lower().replace("_", "-").removesuffix("-noise")
    plain = ALIASES.get(plain, plain)
    if plain in AMBIGUOUS:
        raise ValueError(f"{name!r} noise is several kinds, each with a name of its own here: {AMBIGUOUS[plain]}")
    if plain not in KINDS:
        raise ValueError(f"noise kind {name!r} is unknown{nearest(plain, KINDS)}")
    return plain


def check(kind: str, rate: float, mode: str) -> None:
    """Checks a setting before any data are there.

    Raises:
        ValueError: It is unknown or out of range; the message names the value and the allowed range.
    """
    if kind not in KINDS:
        raise ValueError(f"noise kind {kind!r} is unknown{nearest(kind, KINDS)}")
    if mode not in MODES:
        raise ValueError(f"noise mode {mode!r} is unknown{nearest(mode, MODES)}")
    check_rate(kind, rate)
    if not KINDS[kind].rate and rate != 0:
        raise ValueError(f"noise kind {kind!r} takes no rate (its labels are fixed), got rate = {rate}")
    if kind == "pair" and rate >= 0.5:
        raise ValueError(
            f"rate = {rate} is out of range for pair noise: 0 to less than 0.5, so that most labels stay right"
        )
    if kind == "instance-hard" and mode != "exact":
        raise ValueError(f"mode {mode!r} is not for instance-hard noise: it flips the hardest images, exactly rate * N")


def check_rate(kind: str, rate: float) -> None:
    """Raises ValueError for a rate outside [0, 1]."""
    if not 0 <= rate <= 1:
        raise ValueError(f"rate = {rate} of {kind} noise is out of range: 0 to 1")
