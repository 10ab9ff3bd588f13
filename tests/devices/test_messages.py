"""Payloads: arbitrary bytes give a model or MessageError, good ones round-trip."""

from typing import Any

import orjson
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from devices import messages
from devices.messages import (
    MAX_MESSAGE,
    Call,
    Command,
    CommandReply,
    Device,
    Message,
    MessageError,
    Status,
    decode,
    encode,
)


def every_model() -> list[type[Message]]:
    def below(model: type[Message]) -> list[type[Message]]:
        return [model, *(found for sub in model.__subclasses__() for found in below(sub))]

    return [model for model in below(Message) if model.__module__ == messages.__name__]


MODELS = every_model()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def fields_of(model: type[Message]) -> st.SearchStrategy[dict[str, Any]]:
    names = [field.alias or name for name, field in model.model_fields.items()]
    return st.dictionaries(st.sampled_from(names), JSON, max_size=len(names)) if names else st.just({})


def read(model: type[Message], raw: bytes) -> Message | None:
    """Decodes; whatever is accepted can be written and read again."""
    try:
        found = decode(model, raw)
    except MessageError:
        return None
    encode(found)
    return found


@given(st.sampled_from(MODELS), st.binary(max_size=200))
def test_arbitrary_bytes_give_a_model_or_an_error(model: type[Message], raw: bytes) -> None:
    """No payload makes `decode` raise anything but MessageError."""
    read(model, raw)


@given(st.sampled_from(MODELS), JSON)
def test_arbitrary_json_gives_a_model_or_an_error(model: type[Message], value: Any) -> None:
    """The same for JSON of any shape; an integer beyond 64 bits is not for orjson."""
    try:
        raw = orjson.dumps(value)
    except TypeError:
        return
    read(model, raw)


@given(st.data())
def test_every_field_takes_any_value_or_refuses_it(data: st.DataObject) -> None:
    """The fields that a model has, with values of any type: accepted and stable, or refused."""
    model = data.draw(st.sampled_from(MODELS))
    try:
        raw = orjson.dumps(data.draw(fields_of(model)))
    except TypeError:
        return
    found = read(model, raw)
    if found is not None:
        assert decode(model, encode(found)) == found


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("depth", [100, 250, 253, 254, 255, 1_000, 100_000])
def test_deep_nesting_is_survived(model: type[Message], depth: int) -> None:
    """Nested far deeper than the JSON parser goes, in the whole, in every field and in an unknown one."""
    deep = b"[" * depth + b"]" * depth
    assert read(model, deep) is None
    names = [field.alias or name for name, field in model.model_fields.items()]
    for name in [*names, "unknown"]:
        read(model, b'{"%s":%s}' % (name.encode(), deep))
        read(model, b'{"%s":%s1%s}' % (name.encode(), b'{"a":' * depth, b"}" * depth))


@pytest.mark.parametrize("model", MODELS)
def test_a_payload_of_one_byte_too_much_is_refused(model: type[Message]) -> None:
    """1,000,000 bytes are read, one more is not."""
    raw = b'{"x":"' + b"a" * (MAX_MESSAGE - 8) + b'"}'
    assert len(raw) == MAX_MESSAGE
    read(model, raw)
    with pytest.raises(MessageError, match="larger than 1000000 bytes"):
        decode(model, raw + b" ")


@pytest.mark.parametrize("raw", [b"", b"null", b"[]", b"1", b'"x"', b"{", b'{"a":NaN}', b"\xff\xfe", b'{"a":"\xff"}'])
def test_what_is_no_object_is_refused(raw: bytes) -> None:
    """Not JSON, or JSON but no object."""
    with pytest.raises(MessageError, match=r"data: not (valid JSON|an object)"):
        decode(Status, raw)


def test_an_error_repeats_nothing_that_was_sent() -> None:
    """The reason names the model's own field, never the sender's words."""
    with pytest.raises(MessageError) as caught:
        decode(Status, b'{"devices":[{"deviceId":"unauthorized","status":"jwt 401","metrics":{}}]}')
    assert caught.value.reason.startswith("devices: ")
    assert not any(word in caught.value.reason for word in ("unauthorized", "jwt", "401"))


def test_a_status_keeps_what_it_does_not_know() -> None:
    """Extra fields of a status and of its devices pass through; a missing summary is counted."""
    raw = {
        "stationId": "st-1",
        "firmware": "2.1",
        "devices": [
            {"deviceId": "a", "status": "warning", "zone": "B", "metrics": {"temp": 71.5, "x": None}},
            {"deviceId": "b"},
        ],
    }
    status = decode(Status, orjson.dumps(raw))
    again = orjson.loads(encode(status))
    assert again["firmware"] == "2.1"
    assert again["devices"][0]["zone"] == "B"
    assert status.summarized().model_dump() == {"online": 1, "offline": 0, "warning": 1, "error": 0}


def test_a_summary_that_was_sent_wins() -> None:
    """The station's own count is not recounted."""
    assert decode(Status, b'{"devices":[],"summary":{"online":3}}').summarized().online == 3


def test_the_old_command_reads() -> None:
    """A command without id and deadline is one."""
    command = decode(Command, b'{"type":"report-status","requesterId":"abc"}')
    assert (command.type, command.requester_id, command.id) == ("report-status", "abc", None)
    assert encode(command) == b'{"type":"report-status","requesterId":"abc"}'


def test_null_inside_a_result_is_kept() -> None:
    """Fields that are None are left out; null inside any JSON value is the sender's business."""
    reply = CommandReply(id="1", stage="done", result={"a": None})
    assert encode(reply) == b'{"id":"1","stage":"done","result":{"a":null}}'


def test_texts_and_numbers_are_not_mixed_up() -> None:
    """Strict types: "5" is no number."""
    with pytest.raises(ValidationError):
        Device.model_validate({"deviceId": 5})
    with pytest.raises(MessageError, match=r"^expiresAt: "):
        decode(Command, b'{"type":"x","expiresAt":"5"}')


def test_what_is_kept_is_small() -> None:
    """20,000 short messages cost what they are long, not what orjson reserves for each."""
    process = psutil.Process()
    before = process.memory_info().rss
    kept = [encode(Call(timestamp=number)) for number in range(20_000)]
    assert process.memory_info().rss - before < 20_000 * 1_024
    assert len(kept) == 20_000
