"""Topics: build, parse, filter, match."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices import topics
from devices.topics import TOPICS, Parsed, Topic, matches, parse, valid_filter, valid_topic

STATION_IDS = st.text("abcXYZ019._-", min_size=1, max_size=64)
OTHER_IDS = st.text(st.characters(exclude_characters="/+#\0", exclude_categories=["Cs"]), min_size=1, max_size=128)


def ids_of(topic: Topic) -> st.SearchStrategy[tuple[str, ...]]:
    levels = [level for level in topic.template.split("/") if level.startswith("{")]
    return st.tuples(*(STATION_IDS if level == "{sid}" else OTHER_IDS for level in levels))


TOPICS_WITH_IDS = st.sampled_from(TOPICS).flatmap(lambda topic: st.tuples(st.just(topic), ids_of(topic)))


@given(TOPICS_WITH_IDS)
def test_a_built_topic_parses_to_the_same(case: tuple[Topic, tuple[str, ...]]) -> None:
    """Every topic of the table round-trips, is a valid name, and is matched by its own filters."""
    topic, ids = case
    name = topic(*ids)
    assert parse(name) == Parsed(topic, ids)
    assert valid_topic(name)
    assert valid_filter(topic.filter())
    assert matches(topic.filter(), name)
    assert matches(topic.filter(*ids), name)
    assert matches(topic.filter(ids[0]), name)


@given(TOPICS_WITH_IDS)
def test_filters_match_no_other_topic(case: tuple[Topic, tuple[str, ...]]) -> None:
    """A name matches the open filter of its own topic and of none other in the table."""
    topic, ids = case
    name = topic(*ids)
    assert [other for other in TOPICS if matches(other.filter(), name)] == [topic]


@given(st.text())
def test_any_name_parses_or_is_none(name: str) -> None:
    """Arbitrary text never raises; what parses builds the same name again."""
    parsed = parse(name)
    if parsed is not None:
        assert parsed.topic(*parsed.ids) == name
    valid_topic(name)
    valid_filter(name)
    matches(name, name)


@given(st.lists(st.sampled_from(["stations", "live", "st-1", "cmd", "signal", "in", "", "+", "#", "\ud800", "\0"])))
def test_names_near_the_table_never_crash(levels: list[str]) -> None:
    """Names made of the table's own words parse to what builds them, or to nothing."""
    name = "/".join(levels)
    parsed = parse(name)
    assert parsed is None or parsed.topic(*parsed.ids) == name


@pytest.mark.parametrize("station_id", ["", "a/b", "+", "#", "a#", "a\0", "x" * 65, "a b", "ä", "st-1\n", "\ud800"])
def test_bad_station_ids_are_no_topic(station_id: str) -> None:
    """An id that is none neither builds nor parses."""
    assert not topics.is_station_id(station_id)
    with pytest.raises(ValueError, match="not an id"):
        topics.STATION_CMD(station_id)
    assert parse(f"stations/{station_id}/cmd") is None


def test_a_wrong_number_of_ids_is_an_error() -> None:
    """Too few or too many ids do not build a topic."""
    with pytest.raises(ValueError, match="takes 2 ids, got 1"):
        topics.PEER("n1")
    with pytest.raises(ValueError, match="takes 1 ids, got 2"):
        topics.STATION_CMD("a", "b")


@pytest.mark.parametrize(
    ("topic_filter", "name", "expected"),
    [
        ("stations/#", "stations/a/cmd", True),
        ("stations/#", "stations", True),
        ("stations/+/cmd", "stations/a/cmd", True),
        ("stations/+/cmd", "stations/a/b/cmd", False),
        ("stations/+", "stations", False),
        ("stations/+", "stations/", True),
        ("+/+", "/a", True),
        ("#", "a/b", True),
        ("#", "$SYS/x", False),
        ("+/x", "$SYS/x", False),
        ("$SYS/#", "$SYS/x", True),
        ("a/b", "a/b/c", False),
        ("a/b/c", "a/b", False),
    ],
)
def test_matching_is_as_the_specification_says(topic_filter: str, name: str, expected: bool) -> None:
    """[MQTT-4.7.1-2], [MQTT-4.7.1-3], [MQTT-4.7.2-1]."""
    assert matches(topic_filter, name) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a/+/b", True),
        ("#", True),
        ("a/#", True),
        ("a/#/b", False),
        ("a+", False),
        ("a#", False),
        ("", False),
        ("a\0", False),
    ],
)
def test_filters_are_checked(value: str, expected: bool) -> None:
    """Wildcards take a whole level, `#` only the last."""
    assert valid_filter(value) is expected


@pytest.mark.parametrize("name", ["", "a/+", "#", "a\0", "x" * 65_536])
def test_wildcards_are_no_topic_names(name: str) -> None:
    """[MQTT-3.3.2-2]."""
    assert not valid_topic(name)
