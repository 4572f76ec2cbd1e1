"""A contact sheet: faces with their landmarks drawn in, each beside its mirror image, to look at before training."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw

from fer_bench.data.dataset import Manifest
from fer_bench.data.points import POINTS, mirrored

FACES, ACROSS, SIDE = 16, 4, 192

COLOURS = {"left": (255, 120, 0), "right": (0, 150, 255)}

MIDDLE = (0, 230, 0)


def draw(manifest: Manifest) -> Image.Image:
    """FACES faces, spread evenly over those with landmarks (over all where there are none), in pairs.

    Of each pair the left is the image as it is and the right its mirror, with the points as a method is given them:
    orange ones belong to the left of the picture in both, blue ones to the right. Numbers are places in the order.
    """
    order = np.argsort(manifest.ids, kind="stable")
    points, found = manifest.landmarks, manifest.landmarks_ok
    if found is not None and found.any():
        order = order[found[order]]
    rows = order[np.linspace(0, len(order) - 1, min(FACES, len(order))).round().astype(np.int64)]
    high = -(-len(rows) // ACROSS)
    sheet = Image.new("RGB", (2 * ACROSS * SIDE, high * SIDE))
    for number, (row, pixels) in enumerate(zip(rows, manifest.source.pixels(rows.tolist(), SIDE), strict=True)):
        face = Image.fromarray(pixels.transpose(1, 2, 0))
        left, top = 2 * SIDE * (number % ACROSS), SIDE * (number // ACROSS)
        for turned in (False, True):
            tile = face.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if turned else face.copy()
            if points is not None and found is not None and found[row]:
                _mark(tile, mirrored(points[row]) if turned else points[row])
            sheet.paste(tile, (left + SIDE * turned, top))
    return sheet


def encoded(sheet: Image.Image, suffix: str) -> bytes:
    """The sheet as the content of an image file with this suffix, such as ".png"."""
    buffer = io.BytesIO()
    sheet.save(buffer, format=Image.registered_extensions()[suffix.lower()])
    return buffer.getvalue()


def _mark(tile: Image.Image, points: np.ndarray) -> None:
    pen = ImageDraw.Draw(tile)
    for number, (x, y) in enumerate(points * SIDE):
        name = POINTS[number] if len(points) == len(POINTS) else ""
        colour = next((colour for side, colour in COLOURS.items() if side in name), MIDDLE)
        pen.ellipse((x - 2, y - 2, x + 2, y + 2), fill=colour)
        pen.text((x + 3, y - 6), str(number), fill=colour)
