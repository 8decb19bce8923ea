"""Makes screenshots small: at most 256 colours, of which the most frequent are exact and the others the mean of what they stand for.

Reads what Chromium writes (PNG, third edition: 8 bits a channel, not interlaced) and needs nothing but the standard library.
"""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Iterator

__all__ = ["small_png"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MOST_COLOURS = 256
_KEPT_COLOURS = 96
_CHANNELS = {2: 3, 6: 4}
"""Bytes a pixel by colour type: RGB, RGB with transparency."""


def small_png(data: bytes) -> bytes:
    """Returns the same picture with a palette.

    Args:
        data: A PNG of 8-bit RGB, with or without transparency, which is dropped.
    """
    chunks = list(_chunks(data))
    width, height, depth, kind, _, _, interlace = struct.unpack(">IIBBBBB", chunks[0][1])
    if depth != 8 or kind not in _CHANNELS or interlace:
        raise ValueError("not a picture of Chromium's")
    raw = zlib.decompress(b"".join(body for name, body in chunks if name == b"IDAT"))
    pixels = _pixels(raw, width, height, _CHANNELS[kind])
    palette, places = _palette(Counter(pixels))
    rows = b"".join(b"\0" + bytes(places[p] for p in pixels[y * width : (y + 1) * width]) for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    parts = ((b"IHDR", header), (b"PLTE", palette), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(name, body) for name, body in parts)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(_SIGNATURE)
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        at += 12 + length


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _pixels(raw: bytes, width: int, height: int, step: int) -> list[tuple[int, int, int]]:
    """Undoes the filters of the rows (section 9.2)."""
    pixels: list[tuple[int, int, int]] = []
    stride, above = width * step, bytearray(width * step)
    for y in range(height):
        start = y * (stride + 1)
        kind, row = raw[start], bytearray(raw[start + 1 : start + 1 + stride])
        _unfilter(kind, row, above, step)
        pixels.extend(zip(row[0::step], row[1::step], row[2::step], strict=True))
        above = row
    return pixels


def _unfilter(kind: int, row: bytearray, above: bytearray, step: int) -> None:
    for x in range(len(row)) if kind else ():
        left = row[x - step] if x >= step else 0
        corner = above[x - step] if x >= step else 0
        if kind == 1:
            guess = left
        elif kind == 2:
            guess = above[x]
        elif kind == 3:
            guess = (left + above[x]) // 2
        else:
            guess = _paeth(left, above[x], corner)
        row[x] = (row[x] + guess) & 255


def _paeth(left: int, above: int, corner: int) -> int:
    estimate = left + above - corner
    return min((left, above, corner), key=lambda near: abs(estimate - near))


def _palette(counts: Counter[tuple[int, int, int]]) -> tuple[bytes, dict[tuple[int, int, int], int]]:
    """Keeps the most frequent colours, and groups the others by their upper bits, as few bits less as it takes."""
    kept = [colour for colour, _ in counts.most_common(_KEPT_COLOURS)]
    others = counts.keys() - set(kept)
    for bits in range(9):
        groups: dict[tuple[int, ...], list[tuple[int, int, int]]] = {}
        for colour in others:
            groups.setdefault(tuple(channel >> bits for channel in colour), []).append(colour)
        if len(groups) <= _MOST_COLOURS - len(kept):
            break
    palette, places = bytearray(), {}
    for place, colours in enumerate([*([colour] for colour in kept), *groups.values()]):
        weight = sum(counts[colour] for colour in colours)
        palette += bytes(sum(colour[c] * counts[colour] for colour in colours) // weight for c in range(3))
        places |= dict.fromkeys(colours, place)
    return bytes(palette), places
