"""Tiny copies of the official layouts of data sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from fer_bench.data.readers import ferplus, sfew


def save(path: Path, colour: tuple[int, int, int] = (10, 20, 30), size: tuple[int, int] = (8, 8)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def save_numbered(folder: Path, count: int) -> None:
    """Images 0.png, 1.png, … of different colours."""
    for number in range(count):
        save(folder / f"{number}.png", (number, 0, 0))


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def lay_rafdb(root: Path, base: str = "rafdb", list_folder: str = "EmoLabel") -> None:
    names = [f"train_{i:05d}.jpg" for i in range(1, 8)] + ["test_0001.jpg"]
    write(
        root / base / list_folder / "list_patition_label.txt",
        "".join(f"{name} {i % 7 + 1}\n" for i, name in enumerate(names)),
    )
    for name in names:
        save(root / base / "Image" / "aligned" / name.replace(".jpg", "_aligned.jpg"))


VOTES: list[tuple[list[int], str | None]] = [  # in the order of VOTE_COLUMNS, and what the official rule makes of them
    ([9, 1, 0, 0, 0, 0, 0, 0, 0, 0], "neutral"),
    ([0, 5, 5, 0, 0, 0, 0, 0, 0, 0], None),  # a tie is no majority
    ([1, 1, 1, 1, 1, 0, 0, 5, 0, 0], "contempt"),  # half of all ten, but all of what is left
    ([0, 0, 0, 0, 0, 0, 0, 0, 10, 0], None),  # unknown
    ([0, 0, 0, 0, 0, 0, 0, 0, 0, 10], None),  # no face
    ([2, 0, 0, 0, 0, 0, 6, 2, 0, 0], "fear"),
]
USAGES = ["Training", "Training", "Training", "PublicTest", "PublicTest", "PrivateTest"]
ORIGINAL = [0, 1, 2, 3, 4, 6]


def lay_fer2013(root: Path, header: str = "emotion,pixels,Usage") -> Path:
    rows = [
        f"{label},{' '.join([str(40 * row)] * 48 * 48)},{usage}"
        for row, (label, usage) in enumerate(zip(ORIGINAL, USAGES, strict=True))
    ]
    return write(root / "fer2013" / "fer2013.csv", "\n".join([header, *rows]) + "\n")


def lay_ferplus(root: Path, place: str = "ferplus/fer2013new.csv", usages: list[str] = USAGES) -> Path:
    lay_fer2013(root)
    rows = [
        f"{usage},fer{row:07d}.png,{','.join(map(str, votes))}"
        for row, (usage, (votes, _)) in enumerate(zip(usages, VOTES, strict=True))
    ]
    return write(root / place, "\n".join(["Usage,Image name," + ",".join(ferplus.VOTE_COLUMNS), *rows]) + "\n")


def lay_affectnet(root: Path, boxes: bool = False) -> None:
    for name, labels in (("training.csv", [0, 6, 7, 8, 10]), ("validation.csv", [1, 7])):
        lines = ["subDirectory_filePath,expression" + (",face_x,face_y,face_width,face_height" if boxes else "")]
        for row, label in enumerate(labels):
            image = f"{row}/{name[:5]}{row}.jpg"
            save(root / "affectnet" / "Manually_Annotated_Images" / image)
            lines.append(f"{image},{label}" + (",2,1,4,5" if boxes else ""))
        write(root / "affectnet" / name, "\n".join(lines))


def lay_affectnet_folders(root: Path) -> None:
    for part, labels in (("train_set", [0, 7]), ("val_set", [3])):
        for row, label in enumerate(labels):
            save(root / "affectnet" / part / "images" / f"{row}.jpg")
            at = root / "affectnet" / part / "annotations" / f"{row}_exp.npy"
            at.parent.mkdir(exist_ok=True)
            np.save(at, np.array(str(label)))


def lay_expw(root: Path, images: int = 40, place: str = "label.lst") -> Path:
    lines = []
    for number in range(images):
        save(root / "expw" / "image" / "origin" / f"face_{number}.jpg", size=(20, 10))
        lines += [f"face_{number}.jpg {face} 2 {4 + 8 * face} {8 + 8 * face} 6 52.3 {number % 7}" for face in (0, 1)]
    return write(root / "expw" / place, "\n".join(lines))


def lay_sfew(root: Path) -> None:
    for part in ("Train", "Val"):
        for name in sfew.FOLDERS:
            save(root / "sfew" / part / name / "a.png")
    save(root / "sfew" / "Test" / "unlabelled.png")
