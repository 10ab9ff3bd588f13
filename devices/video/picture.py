"""The moving test picture: who it is of, the time, and a ball that bounces. Pure: texts and time in, bytes out.

A picture is three planes of bytes without padding: brightness at full size, then two of colour at half the width and height
(yuv420p). Rows are drawn by slices, so that a picture costs a few hundred copies and no loop over its points.
"""

import zlib
from typing import Final, NamedTuple

__all__ = ["Drawing", "Picture", "text_rows"]

WIDTH: Final = 640
HEIGHT: Final = 360
INK: Final = 235
PAPER: Final = 40
PAPER_STRIPE: Final = 56
MARGIN: Final = 32
CLOCK_SCALE: Final = 8
BALL: Final = 48
"""Points across."""
CROSSING: Final = (5.0, 3.1)
"""Seconds that the ball takes from side to side, and from top to bottom."""
GLYPH_WIDTH: Final = 5
GLYPH_HEIGHT: Final = 7
STEP: Final = GLYPH_WIDTH + 1

# a character, and its seven rows, a digit of base 32 each: its five bits are the five points
_TABLE: Final = (
    "0EHJLPHE14C4444E2EH1248V3V2421HE426AIV225VGU11HE668GUHHE7V1248888EHHEHHE9EHHF12C"
    "AEHHVHHHBUHHUHHUCEHGGGHEDSIHHHISEVGGUGGVFVGGUGGGGEHGNHHFHHHHVHHHIE44444EJ72222IC"
    "KHIKOKIHLGGGGGGVMHRLLHHHNHHPLJHHOEHHHHHEPUHHUGGGQEHHHLIDRUHHUKIHSFGGE11UTV444444"
    "UHHHHHHEVHHHHHA4WHHHLLLAXHHA4AHHYHHHA444ZV1248GV"
    "a00E1FHFbGGMPHHUc00EGGHEd11DJHHFe00EHVGEf698S888g0FHHF1EhGGMPHHHi40C444Ej20622IC"
    "kGGIKOKIlC44444Em00QLLHHn00MPHHHo00EHHHEp00UHUGGq00DJF11r00MPGGGs00EGE1Ut88S8896"
    "u00HHHJDv00HHHA4w00HHLLAx00HA4AHy00HHF1Ez00V248V"
    ".00000CC-000V000_000000V:0CC0CC0/01248G0"
    " 0000000"
)
_GLYPHS: Final = {_TABLE[at]: _TABLE[at + 1 : at + 8] for at in range(0, len(_TABLE), 8)}
_UNKNOWN: Final = "VHHHHHV"


class Picture(NamedTuple):
    """One picture; `planes` are Y, U and V."""

    width: int
    height: int
    planes: tuple[bytes, bytes, bytes]


def text_rows(text: str, scale: int, ink: int = INK, paper: int = PAPER) -> list[bytes]:
    """A line of text as rows of brightness, each point `scale` points wide and high; a character without a glyph is a box."""
    dark, light = bytes([paper]) * scale, bytes([ink]) * scale
    rows = []
    for number in range(GLYPH_HEIGHT):
        row = b""
        for character in text:
            bits = int(_GLYPHS.get(character, _UNKNOWN)[number], 32) << 1  # one more for the gap
            row += b"".join(light if bits >> place & 1 else dark for place in range(STEP - 1, -1, -1))
        rows += [row] * scale
    return rows


def _bounce(seconds: float, crossing: float, most: int) -> int:
    """From 0 to `most` and back, evenly."""
    part = seconds / crossing % 2.0
    return int(most * (part if part < 1.0 else 2.0 - part))


class Drawing:
    """The picture of one camera.

    Args:
        title, subtitle: two lines of text; their colours follow from both.
    """

    def __init__(self, title: str, subtitle: str) -> None:
        self._paper = bytearray()
        for row in range(HEIGHT):
            stripe = PAPER_STRIPE if row // 24 % 2 else PAPER
            self._paper += bytes([stripe]) * WIDTH
        for text, top, biggest in ((title, MARGIN, 7), (subtitle, 112, 4)):
            self._write(self._paper, text, top, biggest)
        colour = zlib.crc32(f"{title}\n{subtitle}".encode("utf-8", "surrogatepass"))
        self._colours = tuple(bytes([96 + (colour >> shift) % 64]) * (WIDTH * HEIGHT // 4) for shift in (0, 8))
        half = BALL // 2
        self._spans = [int((half**2 - (row + 0.5 - half) ** 2) ** 0.5) for row in range(BALL)]

    @staticmethod
    def _write(plane: bytearray, text: str, top: int, biggest: int) -> None:
        room = WIDTH - 2 * MARGIN
        text = text[: room // STEP]
        scale = max(1, min(biggest, room // (STEP * max(1, len(text)))))
        for row, points in enumerate(text_rows(text, scale), top):
            plane[row * WIDTH + MARGIN : row * WIDTH + MARGIN + len(points)] = points

    def picture(self, seconds: float, clock: str) -> Picture:
        """The picture at a time.

        Args:
            seconds: any steady clock's, moves the ball.
            clock: the time as text.
        """
        bright, (blue, red) = bytearray(self._paper), self._colours
        self._write(bright, clock, 168, CLOCK_SCALE)
        left = _bounce(seconds, CROSSING[0], WIDTH - BALL)
        top = _bounce(seconds, CROSSING[1], HEIGHT - BALL)
        for row, span in enumerate(self._spans, top):
            start = row * WIDTH + left + BALL // 2 - span
            bright[start : start + 2 * span] = bytes([INK]) * (2 * span)
        return Picture(WIDTH, HEIGHT, (bytes(bright), blue, red))
