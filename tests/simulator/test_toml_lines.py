"""Which line of a TOML document a key stands on."""

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.scenario.toml_lines import Lines

DOCUMENT = '''\
# [stages] in a comment
top = 1  # = 2
"a.b" = "x # [y]"
text = """
[stations]
count = 1 \\""" ""\\
"""
raw = \'\'\'
[stations] \'\'
\'\'\'
site . gate."no 1" = {a = 1, b.c = [{d = 2}, {e = "}"}]}

[stations]
count = 5
devices = { cameras = 1 }

[ stations . "more" ]
x = [
  1,  # ]
  [2, 3],

  { y = 1, z = 1979-05-27 07:32:00Z },
]

[[stages]]
name = "a"
[[stages]]
  name = 'b # "'

    [[stages.faults]]
    kind = "abort"
    [[stages.faults]]
    kind = "storm"
    [stages.faults.deep]
    k = inf
[[stages]]
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ((), 1),
        (("top",), 2),
        (("a.b",), 3),
        (("text",), 4),
        (("raw",), 8),
        (("site", "gate", "no 1", "b", "c", 1, "e"), 11),
        (("stations",), 13),
        (("stations", "count"), 14),
        (("stations", "devices", "cameras"), 15),
        (("stations", "more"), 17),
        (("stations", "more", "x"), 18),
        (("stations", "more", "x", 0), 19),
        (("stations", "more", "x", 1, 1), 20),
        (("stations", "more", "x", 2, "z"), 22),
        (("stages",), 25),
        (("stages", 0, "name"), 26),
        (("stages", 1), 27),
        (("stages", 1, "name"), 28),
        (("stages", 1, "faults", 0, "kind"), 31),
        (("stages", 1, "faults", 1), 32),
        (("stages", 1, "faults", 1, "kind"), 33),
        (("stages", 1, "faults", 1, "deep", "k"), 35),
        (("stages", 2), 36),
        (("stages", 2, "name"), 36),
        (("stages", 1, "faults", 1, "at"), 32),
        (("stages", 0, "faults", 0, "kind"), 25),
        (("nothing", "at", "all"), 1),
    ],
)
def test_every_way_to_write_a_key_is_found(path: tuple[str | int, ...], line: int) -> None:
    """Tables, arrays of them, dotted and quoted keys, inline tables, lists, between strings and comments that look alike."""
    tomllib.loads(DOCUMENT)
    assert Lines(DOCUMENT).find(path) == line


def test_a_key_is_known_by_what_its_escapes_mean() -> None:
    """As tomllib reads it."""
    text = '\n"t\\u0061b\\t\\"\\\\" = 1'
    assert Lines(text).find(tuple(tomllib.loads(text))) == 2


@given(st.text("[]{}=.,ab\"'#\n \\", max_size=40))
def test_what_is_no_toml_has_lines_all_the_same(text: str) -> None:
    """It is not for this to refuse it: some line, in the end."""
    assert 1 <= Lines(text).find(("a", 0, "b")) <= text.count("\n") + 1


# ---- documents of every kind

keys = st.sampled_from(["a", "b", "kind", "a.b", "", "ü #", 'q"]', "x = 1", "tab\t", "'"]) | st.text(
    "ab-_9", min_size=1, max_size=3
)
scalars = st.sampled_from(
    [
        "1",
        "-0.5",
        "true",
        "inf",
        "1979-05-27",
        '"]} # a = 1"',
        "'[a]'",
        "'\"'",
        '"""\n[x]\n\\"""a = 1\n"""',
        "'''\n''a = 1\n'''",
        '""""x"""""',
    ]
)


class Writer:
    """Writes data as TOML in ways that Hypothesis chooses, and notes on which line each key went."""

    def __init__(self, data: st.DataObject) -> None:
        self._draw, self._text = data.draw, ""
        self.lines: dict[tuple[str | int, ...], int] = {}

    @property
    def text(self) -> str:
        return self._text

    def _write(self, text: str) -> None:
        self._text += text

    def _note(self, path: tuple[str | int, ...]) -> None:
        self.lines.setdefault(path, self._text.count("\n") + 1)

    def _space(self, lines: bool = False) -> None:
        choices = ["", " ", "\t"] + (["\n", ' # ] } [x] a = 1 \' """\n', "\r\n\n  "] if lines else [])
        self._write(self._draw(st.sampled_from(choices)))

    def _key(self, key: str) -> None:
        ways = ['"' + key.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t") + '"']
        ways += [f"'{key}'"] if "'" not in key else []
        ways += ['"' + "".join(f"\\u{ord(char):04x}" for char in key) + '"']
        ways += [key] * 3 if key and set(key) <= set("abkind-_9") else []
        self._write(self._draw(st.sampled_from(ways)))

    def _value(self, path: tuple[str | int, ...], depth: int) -> None:
        kind = self._draw(st.integers(0, 3 if depth else 1))
        if kind == 2:
            self._list(path, depth - 1)
        elif kind == 3:
            self._inline(path, depth - 1)
        else:
            self._write(self._draw(scalars))

    def _list(self, path: tuple[str | int, ...], depth: int) -> None:
        self._write("[")
        size = self._draw(st.integers(0, 3))
        for index in range(size):
            self._space(lines=True)
            self._note((*path, index))
            self._value((*path, index), depth)
            self._space(lines=True)
            if index < size - 1 or self._draw(st.booleans()):
                self._write(",")
        self._space(lines=True)
        self._write("]")

    def _inline(self, path: tuple[str | int, ...], depth: int) -> None:
        self._write("{")
        for index, key in enumerate(self._draw(st.lists(keys, max_size=3, unique=True))):
            self._write("," if index else "")
            self._space()
            self._pair(path, key, depth)
            self._space()
        self._write("}")

    def _pair(self, path: tuple[str | int, ...], key: str, depth: int) -> None:
        path = (*path, key)
        self._note(path)
        self._key(key)
        for more in self._draw(st.lists(keys, max_size=2)):
            self._space()
            self._write(".")
            self._space()
            path = (*path, more)
            self._note(path)
            self._key(more)
        self._space()
        self._write("=")
        self._space()
        self._value(path, depth)

    def _pairs(self, path: tuple[str | int, ...], taken: set[str]) -> None:
        for key in self._draw(st.lists(keys.filter(lambda key: key not in taken), max_size=3, unique=True)):
            self._space(lines=True)
            self._pair(path, key, 3)
            self._write(self._draw(st.sampled_from(["\n", " # [[x]]\n", "\r\n"])))

    def tables(self, path: tuple[str | int, ...] = (), names: tuple[str, ...] = (), depth: int = 3) -> None:
        """A table's own keys, and then those within it, some in arrays."""
        within = self._draw(st.lists(keys, max_size=2 if depth else 0, unique=True))
        self._pairs(path, set(within))
        for name in within:
            many = self._draw(st.integers(0, 3))  # 0: no array
            for index in range(max(many, 1)):
                self._space(lines=True)
                header = (*names, name)
                self._write("[[" if many else "[")
                for place, key in enumerate(header):
                    if place == len(names):
                        self._note((*path, name))
                        self._note((*path, name, index) if many else (*path, name))
                    self._write(".") if place else None
                    self._space()
                    self._key(key)
                    self._space()
                self._write("]]\n" if many else "]\n")
                self.tables((*path, name, index) if many else (*path, name), header, depth - 1)


def walk(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, inner in items for found in [(*path, key), *walk(inner, (*path, key))]]


@given(st.data())
def test_the_line_found_holds_the_key(data: st.DataObject) -> None:
    """Of every key and element that tomllib reads from a document, the line is the one it was first written on."""
    writer = Writer(data)
    writer.tables()
    paths = walk(tomllib.loads(writer.text))
    assert set(paths) == set(writer.lines)
    lines = Lines(writer.text)
    for path in paths:
        assert lines.find(path) == writer.lines[path]
        assert lines.find((*path, "no such key")) == writer.lines[path]
