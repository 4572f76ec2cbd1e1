"""Decoding: any image file or an array of frames to the uint8 [3, size, size] that the harness stores."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from fer_bench.core.errors import DataError

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class FileSource:
    """One image file for each row.

    Attributes:
        paths: [N] files.
        boxes: [N, 4] int64, (left, top, right, bottom) of the face in pixels; None for the whole image.
    """

    paths: Sequence[Path]
    boxes: np.ndarray | None = None

    def pixels(self, rows: Sequence[int], size: int) -> np.ndarray:
        """Decodes images: see :func:`decode`."""
        out = np.empty((len(rows), 3, size, size), dtype=np.uint8)
        for number, row in enumerate(rows):
            out[number] = decode(self.paths[row], size, self._box(row))
        return out

    def digest(self, rows: Sequence[int]) -> list[bytes]:
        """sha256 of the content of each file and of its box."""
        return [self._digest(row) for row in rows]

    def _digest(self, row: int) -> bytes:
        content = hashlib.sha256(_read(self.paths[row]))
        box = self._box(row)
        if box is not None:
            content.update(repr(box).encode())
        return content.digest()

    def _box(self, row: int) -> Box | None:
        if self.boxes is None:
            return None
        left, top, right, bottom = (int(side) for side in self.boxes[row])
        return left, top, right, bottom


@dataclass(frozen=True)
class ArraySource:
    """Frames in memory.

    Attributes:
        array: uint8 [N, H, W] (grey) or [N, H, W, 3] (RGB).

    Raises:
        DataError: The array has another type or shape.
    """

    array: np.ndarray

    def __post_init__(self) -> None:
        shape = self.array.shape
        if self.array.dtype != np.uint8 or len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] != 3):
            raise DataError(f"frames must be uint8 [N, H, W] or [N, H, W, 3], not {self.array.dtype} {list(shape)}")

    def pixels(self, rows: Sequence[int], size: int) -> np.ndarray:
        """Resizes frames as :func:`decode` does."""
        out = np.empty((len(rows), 3, size, size), dtype=np.uint8)
        for number, row in enumerate(rows):
            frame = np.asarray(_resize(Image.fromarray(self.array[row]), size))
            out[number] = frame if frame.ndim == 2 else frame.transpose(2, 0, 1)
        return out

    def digest(self, rows: Sequence[int]) -> list[bytes]:
        """sha256 of each frame."""
        return [hashlib.sha256(self.array[row].tobytes()).digest() for row in rows]


def decode(path: Path, size: int, box: Box | None = None) -> np.ndarray:
    """Decodes an image file.

    The orientation in the file is applied. Transparent pixels are composited over black, the value of padding. Of an
    animation the first frame is taken.

    Args:
        path: The file.
        size: Side of the result. The image is squeezed to a square and not cropped.
        box: (left, top, right, bottom) in pixels to crop before; None for the whole image.

    Returns:
        uint8 [3, size, size], RGB.

    Raises:
        DataError: The file is missing or damaged, or has too many pixels; the message names it and the cause.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such image file")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty (0 bytes)")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # it is refused just below
            opened = Image.open(path)
        with opened as image:
            _refuse_bomb(image, path)
            image.load()
            upright = ImageOps.exif_transpose(image)
            rgb = _to_rgb(upright, image.format, path)
    except DataError:
        raise
    except Image.DecompressionBombError:
        raise DataError(f"{path}: its pixels are over the limit of {Image.MAX_IMAGE_PIXELS} for one image") from None
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, ... for a damaged file
        raise DataError(f"{path}: cannot be decoded ({type(error).__name__}: {error})") from error
    if box is not None:
        rgb = _crop(rgb, box, path)
    return np.asarray(_resize(rgb, size)).transpose(2, 0, 1)


def _refuse_bomb(image: Image.Image, path: Path) -> None:
    """Refuses images above Pillow's limit: Pillow itself only warns up to twice the limit."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise DataError(f"{path}: {image.width}x{image.height} pixels is over the limit of {limit} for one image")


def _to_rgb(image: Image.Image, file_format: str | None, path: Path) -> Image.Image:
    # Pillow has opened 16-bit PNG and PGM as "I;16" or as "I", depending on its version
    if image.mode.startswith("I;16") or (image.mode == "I" and file_format in ("PNG", "PPM")):
        wide = np.asarray(image).astype(np.float64)
        return Image.fromarray(np.rint(wide / 257).astype(np.uint8)).convert("RGB")  # 65535 / 255 = 257
    if image.mode in ("I", "F"):
        raise DataError(f"{path}: 32-bit pixels have no known range; convert the file to 8 or 16 bit")
    if image.has_transparency_data:
        seen = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", seen.size, (0, 0, 0, 255)), seen).convert("RGB")
    return image.convert("RGB")


def _crop(image: Image.Image, box: Box, path: Path) -> Image.Image:
    left, top, right, bottom = box
    inside = (max(left, 0), max(top, 0), min(right, image.width), min(bottom, image.height))
    if inside[0] >= inside[2] or inside[1] >= inside[3]:
        raise DataError(f"{path}: the face box {box} has no pixel of the {image.width}x{image.height} image")
    return image.crop(inside)


def _resize(image: Image.Image, size: int) -> Image.Image:
    """Resizes with antialiasing: Pillow widens the bilinear filter when it shrinks an image."""
    return image if image.size == (size, size) else image.resize((size, size), Image.Resampling.BILINEAR)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
