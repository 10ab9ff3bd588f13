"""Which stations a page holds, and in which order."""

from typing import Any

import pytest

from devices.messages import Verdict
from hub.station_list import StationFilter, cut
from hub.store.stations import Light

ENTERED = [
    Light("b", "Zoo gate", "Kyiv", 30, '["north", "x"]'),
    Light("a", "zoo Exit", "München", 20, '["x"]'),
    Light("c", "", "kyiv", 20),
]
VERDICTS = {
    "a": Verdict(state="online", since=5),
    "b": Verdict(state="offline", since=70),
    "stranger": Verdict(state="offline", since=80),
    "gone": Verdict(state="offline", since=90),
    "back": Verdict(state="online", since=95),
}
DELETED = {"gone", "back"}


def ids(*, limit: int = 10, offset: int = 0, **which: Any) -> list[str]:
    return cut(ENTERED, DELETED, VERDICTS, StationFilter(**which), limit=limit, offset=offset)[0]


def test_heard_of_stations_are_listed_too() -> None:
    """One that was deleted is not, until it is online again."""
    assert cut(ENTERED, DELETED, VERDICTS, StationFilter(), limit=10, offset=0) == (
        ["a", "b", "back", "c", "stranger"],
        5,
    )


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        ({"registered": True}, ["a", "b", "c"]),
        ({"registered": False}, ["back", "stranger"]),
        ({"online": True}, ["a", "back"]),
        ({"online": False}, ["b", "c", "stranger"]),
        ({"tag": "x"}, ["a", "b"]),
        ({"tag": "nor"}, []),
        ({"q": "ZOO"}, ["a", "b"]),
        ({"q": "KYIV"}, ["b", "c"]),
        ({"q": "MÜNCH"}, ["a"]),
        ({"q": "strang"}, ["stranger"]),
        ({"q": ""}, ["a", "b", "back", "c", "stranger"]),
        ({"q": "%"}, []),
        ({"q": "zoo", "online": True, "registered": True, "tag": "x"}, ["a"]),
    ],
)
def test_filters(which: dict[str, Any], expected: list[str]) -> None:
    assert ids(**which) == expected


@pytest.mark.parametrize(
    ("sort", "ascending"),
    [
        ("id", ["a", "b", "c"]),
        ("name", ["c", "a", "b"]),
        ("location", ["b", "c", "a"]),
        ("createdAt", ["a", "c", "b"]),
        ("lastSeen", ["c", "b", "a"]),
    ],
)
def test_sorting(sort: Any, ascending: list[str]) -> None:
    """Case does not matter; who is online is seen last; equal ones stay in the order of their ids, both ways."""
    assert ids(sort=sort, registered=True) == ascending
    descending = {"location": ["a", "b", "c"], "createdAt": ["b", "a", "c"]}.get(sort, ascending[::-1])
    assert ids(sort=sort, registered=True, descending=True) == descending


def test_pages_do_not_overlap() -> None:
    pages = [cut(ENTERED, DELETED, VERDICTS, StationFilter(), limit=2, offset=offset) for offset in (0, 2, 4, 6)]
    assert [page for page, _ in pages] == [["a", "b"], ["back", "c"], ["stranger"], []]
    assert {total for _, total in pages} == {5}
