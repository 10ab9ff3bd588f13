"""Says in one line what is wrong with a scenario, and where: from what pydantic and tomllib found."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from simulator.scenario.fields import near, quoted
from simulator.scenario.models import Scenario

__all__ = ["Finding", "dotted", "findings", "syntax"]

Path = tuple[str | int, ...]
BARE: Final = re.compile(r"[A-Za-z0-9_-]{1,60}", re.ASCII)
PLACE: Final = re.compile(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", re.DOTALL)
PLAIN: Final = {
    "missing": "is missing",
    "model_type": "must be a table",
    "list_type": "must be a list",
    "tuple_type": "must be a list of two",
    "too_short": "must hold at least {min_length}",
    "too_long": "must hold {max_length} at most",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        path: keys and indexes from the file's root.
        message: what, and what is allowed.
        cause: the field, dotted, whose value made it wrong, where that is another one.
    """

    path: Path
    message: str
    cause: str = ""

    def told(self) -> str:
        """Field and message."""
        return f"{dotted(self.path)}: {self.message}" if self.path else self.message


def dotted(path: Iterable[str | int]) -> str:
    """A path as a person writes it; keys that are not plain are quoted and cut."""
    return ".".join(part if isinstance(part, str) and BARE.fullmatch(part) else _odd(part) for part in path)


def findings(error: ValidationError, data: Mapping[str, Any]) -> list[Finding]:
    """What pydantic found in `data`."""
    return [_finding(detail, data) for detail in error.errors(include_url=False)]


def syntax(error: Exception) -> str:
    """`line 3: ...`: why a text is no TOML."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        line = 1 + error.object.count(b"\n", 0, error.start)
        return f"line {line}: it is not UTF-8"
    if (found := PLACE.fullmatch(str(error))) is None:
        return "a number has too many digits"
    what = " ".join(found[1].split())
    what = what if len(what) <= 120 else f"{what[:117]}..."
    return f"line {found[2]}: {what}" if found[2] else f"at its end: {what}"


def _odd(part: str | int) -> str:
    return str(part) if isinstance(part, int) else quoted(part)


def _finding(detail: ErrorDetails, data: Mapping[str, Any]) -> Finding:
    kind, context = detail["type"], detail.get("ctx", {})
    path = _existing(detail["loc"], data, missing=kind == "missing")
    if kind == "scenario":
        return Finding((*path, *context["at"]), context["reason"], context["cause"])
    if kind == "missing" and isinstance(path[-1], int):
        return Finding(path[:-1], "must be a list of two")
    if kind == "extra_forbidden":
        known = _keys(path[:-1])
        close = near(str(path[-1]), known)
        return Finding(path, f"unknown key{close or ': allowed are ' + ', '.join(known)}")
    if kind in ("literal_error", "enum"):
        close = near(detail["input"], re.findall("'([^']+)'", context["expected"])) if _is_text(detail) else ""
        return Finding(path, f"must be {context['expected']}, not {quoted(detail['input'])}{close}")
    if kind in PLAIN:
        return Finding(path, PLAIN[kind].format_map(context))
    return Finding(path, detail["msg"].removeprefix("Value error, "))


def _is_text(detail: ErrorDetails) -> bool:
    return isinstance(detail["input"], str)


def _existing(loc: Path, data: Any, *, missing: bool) -> Path:
    """The part of `loc` that is a path in the data; the rest names pydantic's own kinds."""
    for depth, part in enumerate(loc):
        in_list = isinstance(data, list | tuple) and isinstance(part, int) and part < len(data)
        if not in_list and not (isinstance(data, Mapping) and part in data):
            return loc[: depth + 1] if missing else loc[:depth]
        data = data[part]
    return loc


def _keys(path: Path) -> list[str]:
    """Which keys a table may have."""
    model: type[BaseModel] = Scenario
    for part in path:
        if isinstance(part, str):
            kind = model.model_fields[part].annotation
            kind = next(iter(get_args(kind)), kind)
            assert isinstance(kind, type)
            assert issubclass(kind, BaseModel)
            model = kind
    return list(model.model_fields)
