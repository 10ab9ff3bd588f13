"""Finds the line on which a key of a TOML document stands, which tomllib does not tell.

    Lines(text).find(("stages", 2, "faults", 0, "kind"))

The text must be one that tomllib takes: nothing is checked here.
"""

import re
from collections.abc import Sequence
from typing import Final

__all__ = ["Lines"]

Path = tuple[str | int, ...]

BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
SPACE: Final = re.compile(r"[ \t]*")
BARE: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
SCALAR: Final = re.compile(r"[^,\]}#\n]+")
LONG: Final = {
    '"""': re.compile(r'"""(?:[^\\]|\\.)*?"""(?!")', re.DOTALL),  # up to two quotes may stand before the last three
    "'''": re.compile(r"'''.*?'''(?!')", re.DOTALL),
}
SHORT: Final = {'"': re.compile(r'"(?:[^"\\\n]|\\.)*"'), "'": re.compile(r"'[^'\n]*'")}
ESCAPE: Final = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.DOTALL)
ESCAPES: Final = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r"}


class _LostError(Exception):
    """The text is no TOML."""


class Lines:
    """The lines of one document.

    Args:
        text: the document, as given to tomllib.
    """

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self._counted, self._line = 0, 1
        self._lines: dict[Path, int] = {}
        self._arrays: dict[Path, int] = {}
        try:
            self._document()
        except (RecursionError, _LostError, IndexError):
            pass  # a less exact line is better than none: what was found so far is what there is

    def find(self, path: Sequence[str | int]) -> int:
        """The line, from 1, of a key or an array's element: where it is first named; else that of its nearest parent."""
        wanted = tuple(path)
        while wanted:
            if (line := self._lines.get(wanted)) is not None:
                return line
            wanted = wanted[:-1]
        return 1

    def _document(self) -> None:
        table: Path = ()
        while self._skip(BLANK) < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> Path:
        """`[a.b]` or `[[a.b]]`: the table that follows."""
        many = self._text.startswith("[[", self._at)
        self._at += 2 if many else 1
        path: Path = ()
        keys = self._keys()
        for place, key in enumerate(keys):
            path = (*path, key)
            self._note(path)
            last = place == len(keys) - 1
            if many and last:
                self._arrays[path] = self._arrays.get(path, -1) + 1
            if path in self._arrays:
                path = (*path, self._arrays[path])
                self._note(path)
        self._at += 2 if many else 1
        return path

    def _pair(self, table: Path) -> None:
        """`a.b = value`."""
        path = table
        for key in self._keys():
            path = (*path, key)
            self._note(path)
        self._at += 1  # the =
        self._skip(SPACE)
        self._value(path)

    def _value(self, path: Path) -> None:
        char = self._text[self._at]
        if char == "[":
            self._array(path)
        elif char == "{":
            self._inline(path)
        elif char in SHORT:
            long = LONG.get(self._text[self._at : self._at + 3])
            self._skip(long or SHORT[char])
        else:
            self._skip(SCALAR)

    def _array(self, path: Path) -> None:
        self._at += 1
        index = 0
        while self._text[self._skip(BLANK)] != "]":
            self._note((*path, index))
            self._value((*path, index))
            index += 1
            if self._text[self._skip(BLANK)] == ",":
                self._at += 1
        self._at += 1

    def _inline(self, path: Path) -> None:
        self._at += 1
        while self._text[self._skip(BLANK)] != "}":
            self._pair(path)
            if self._text[self._skip(BLANK)] == ",":
                self._at += 1
        self._at += 1

    def _keys(self) -> list[str]:
        """A dotted key, up to what follows it."""
        keys = []
        while True:
            start = self._skip(SPACE)
            if self._text[start] in SHORT:
                quote = self._text[start]
                self._skip(SHORT[quote])
                inner = self._text[start + 1 : self._at - 1]
                keys.append(ESCAPE.sub(_unescape, inner) if quote == '"' else inner)
            else:
                self._skip(BARE)
                keys.append(self._text[start : self._at])
            if self._text[self._skip(SPACE)] != ".":
                return keys
            self._at += 1

    def _note(self, path: Path) -> None:
        if path not in self._lines:
            self._line += self._text.count("\n", self._counted, self._at)
            self._counted = self._at
            self._lines[path] = self._line

    def _skip(self, what: re.Pattern[str]) -> int:
        if (found := what.match(self._text, self._at)) is None:
            raise _LostError
        self._at = found.end()
        return self._at


def _unescape(found: re.Match[str]) -> str:
    digits = found[1] or found[2]
    return chr(int(digits, 16)) if digits else ESCAPES.get(found[3], found[3])
