"""A scenario as TOML again, so that a report can be run once more."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["toml"]


def toml(data: Mapping[str, Any]) -> str:
    """Text that reads as `data`: tables, lists, texts, numbers and truths. What is None is left out."""
    return "\n".join(_table(data, ())).strip("\n") + "\n"


def _table(data: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    """Values first: what comes after a table's heading belongs to it."""
    inner = {}
    for key, value in data.items():
        if isinstance(value, Mapping) or _are_tables(value):
            inner[key] = value
        elif value is not None:
            yield f"{_key(key)} = {_value(value)}"
    for key, value in inner.items():
        below = (*path, key)
        heading = ".".join(_key(part) for part in below)
        for each in [value] if isinstance(value, Mapping) else value:
            yield ""
            yield f"[{heading}]" if isinstance(value, Mapping) else f"[[{heading}]]"
            yield from _table(each, below)


def _are_tables(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(each, Mapping) for each in value)


def _key(key: str) -> str:
    return (
        key if key and all(letter.isascii() and (letter.isalnum() or letter in "-_") for letter in key) else _text(key)
    )


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Sequence):
        return f"[{', '.join(_value(each) for each in value)}]"
    return str(value)


def _text(text: str) -> str:
    """JSON's escapes are TOML's too; TOML wants one more of them."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
