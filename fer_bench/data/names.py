"""One spelling of classes, splits and image names, for readers of data sets and of noise files."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath

EMOTIONS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
"""Names of the basic expressions, so that a class has one name in every data set. The order is that of FERPlus."""

IMAGE_SUFFIXES = (
    ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".mpo", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff",
    ".webp",
)  # fmt: skip
"""Suffixes of the files that count as images, in small letters."""

TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".lst", ".parquet")
"""Suffixes of the files that count as tables, in small letters."""

_EMOTION_WORDS = {
    "neutrality": "neutral", "happy": "happiness", "surprised": "surprise", "sad": "sadness", "angry": "anger",
    "disgusted": "disgust", "fearful": "fear", "afraid": "fear", "contemptuous": "contempt",
}  # fmt: skip


_SPLIT_WORDS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
    "testing": "test",
}  # fmt: skip

_PARTS_OF_FER2013 = {"publictest": "val", "privatetest": "test"}

_UNCLEAR_SPLITS = {
    "dev", "eval", "evaluation", "holdout", "heldout", "trainval", "traintest", "trn", "tst", "vld",
}  # fmt: skip

_FILLERS = {
    "set", "data", "dataset", "images", "image", "imgs", "img", "faces", "face", "folder", "split", "fer", "2013",
    "plus", "ferplus", "affectnet", "raf", "db", "rafdb", "sfew", "expw", "basic", "aligned",
}  # fmt: skip


def composed(text: str) -> str:
    """The text in the Unicode form NFC, to compare names: Macs write "ä" as "a" and two dots, other systems as one."""
    return unicodedata.normalize("NFC", text)


def folded(text: str) -> str:
    """The text in small letters and in the form NFC: equal for names that differ in these only."""
    return composed(composed(text).casefold())


def class_name(word: str) -> str:
    """The name of the class that a folder, a table or a list calls ``word``.

    Basic expressions get the names of :data:`EMOTIONS` ("Happy" is "happiness"), whole numbers lose their fraction
    ("3.0" and "3.000e+00" are "3"), and every other name stays as it is written.
    """
    plain = word.strip()
    lower = plain.lower()
    if re.fullmatch(r"\d+\.0+", plain):
        return plain.partition(".")[0]
    if re.fullmatch(r"\d+(\.0+)?e[+-]?\d+", lower) and float(lower) in range(1_000_000):
        return str(int(float(lower)))
    return _EMOTION_WORDS.get(lower, lower if lower in EMOTIONS else plain)


def emotion_in(name: str) -> str:
    """The basic expression that a name has among numbers and words such as "faces": "0_angry" is "anger"; else ""."""
    words = [token for token in re.findall(r"[^\W\d_]+", name.lower()) if token not in _FILLERS]
    found = class_name(words[0]) if len(words) == 1 else ""
    return found if found in EMOTIONS else ""


def class_names(words: Iterable[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """The class of each word, by :func:`class_name`, and a sentence on each class that is written in several ways.

    Words that differ in their letters' case or in their Unicode form only are one class. It is called as they are in
    small letters if one of them is written so, else as the first one by the alphabet, in the form NFC if there is one.
    A name with a number, such as "0_angry", is the class "anger" if that is there, too, unless the numbers say
    something else, such as the strength of the expression.
    """
    written = sorted(set(words))
    names = {word: class_name(word) for word in written}
    if _are_codes(names.values()):
        names = {word: emotion_in(name) if emotion_in(name) in names.values() else name for word, name in names.items()}
    spellings: dict[str, str] = {}
    for name in sorted(names.values(), key=_unusual):
        spellings.setdefault(folded(name), name)
    found = {word: spellings[folded(name)] for word, name in names.items()}
    merged: dict[str, list[str]] = {}
    for word, name in found.items():
        merged.setdefault(name, []).append(_written(word))
    return found, tuple(
        f"{', '.join(same[:-1])} and {same[-1]} are one class, {name}" for name, same in merged.items() if len(same) > 1
    )


def _written(word: str) -> str:
    """A word in a message, with what cannot be seen."""
    word = word if word == word.strip() else repr(word)
    return word if word == composed(word) else f"{word} (in another Unicode form)"


def _unusual(name: str) -> tuple[bool, bool]:
    """Sorts the spellings of a name: small letters first, and NFC before other forms."""
    return name != name.casefold(), name != composed(name)


def _are_codes(names: Iterable[str]) -> bool:
    """Whether the numbers in names are codes of the expressions there: one number each, and each of another number."""
    pairs = {(emotion_in(name), number) for name in names if emotion_in(name) for number in re.findall(r"\d+", name)}
    return len({emotion for emotion, _ in pairs}) == len({number for _, number in pairs}) == len(pairs)


def doubtful_classes(classes: Iterable[str]) -> str:
    """What makes classes look like two ways of writing the same ones: numbers beside expressions; else ""."""
    numbers = [name for name in classes if name.isdecimal()]
    words = [name for name in classes if emotion_in(name)]
    if not numbers or not words:
        return ""
    return (
        f"some classes are numbers ({', '.join(numbers[:3])}) and others are expressions ({', '.join(words[:3])}): "
        "they stay apart, even if a number means one of these expressions"
    )


def class_order(names: Iterable[str]) -> tuple[str, ...]:
    """Distinct class names in their order: numbers by value, other names by the alphabet."""
    distinct = set(names)
    numeric = all(name.isdecimal() for name in distinct)
    return tuple(sorted(distinct, key=lambda name: (int(name) if numeric else 0, name)))


def splits_of(words: Iterable[str]) -> dict[str, str]:
    """The splits "train", "val" and "test" that folders or labels are called by; words that are no split are left out.

    Names in the wild are understood: Training, valid, test_set, FER2013Train. PublicTest and PrivateTest are the
    validation and the test split of FER2013 where both are there.
    """
    found: dict[str, str] = {}
    plain = {word: "".join(_tokens(word)) for word in words}
    for word, key in plain.items():
        split = _SPLIT_WORDS.get(key)
        if split is not None:
            found[word] = split
        elif {"publictest", "privatetest"} <= set(plain.values()) and key in _PARTS_OF_FER2013:
            found[word] = _PARTS_OF_FER2013[key]
    return found


def fold_number(word: str) -> int | None:
    """The number of a fold of cross-validation that a folder or label is called by ("fold-0", "Fold 3"), or None."""
    found = re.fullmatch(r"(?:cv|fold|kfold)[ _-]*(\d+)", word.strip().lower())
    return int(found[1]) if found else None


def looks_like_split(word: str) -> bool:
    """Whether a name has a word for a split in it, so that it is no class, although it may be unclear which."""
    return any(token in _SPLIT_WORDS or token in _UNCLEAR_SPLITS for token in _tokens(word))


def _tokens(word: str) -> list[str]:
    """The words in a name in small letters, without those that say nothing about a split: ``test_set`` is "test"."""
    found = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_]+", word)
    plain = [re.sub(r"(?<=.)(set|data|images|imgs|faces)$", "", token.lower()) for token in found]
    return [token for token in plain if token not in _FILLERS]


def image_path(text: str) -> str:
    """The path of an image with "/" between its parts, without a drive, "file://" or "./" at its beginning."""
    plain = re.sub(r"^(file://)?(/?[A-Za-z]:(?=[\\/]))?", "", text.strip()).replace("\\", "/")
    return re.sub(r"^(\./)+", "", plain)


def without_suffix(path: str) -> str:
    """The path of an image without the suffix of its format, and without RAF-DB's ``_aligned``."""
    pure = PurePosixPath(path)
    known = pure.suffix.lower() in IMAGE_SUFFIXES
    return (str(pure.with_suffix("")) if known else path).removesuffix("_aligned")
