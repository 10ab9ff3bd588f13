"""What the MQTT libraries log reaches the operator as single lines, or not at all."""

import logging

import pytest

from hub.quiet import OneLine


def _record(message: str, level: int, error: Exception | None = None) -> logging.LogRecord:
    info = (type(error), error, None) if error else None
    return logging.LogRecord("amqtt.broker", level, "", 0, message, (), info)


def test_failures_are_told_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    """A failure is one WARNING without a traceback or a client's text, the next ten seconds none; the rest is DEBUG."""
    now = [0.0]
    handler = OneLine(clock=lambda: now[0])
    with caplog.at_level(logging.INFO):
        handler.emit(_record("no data from a stranger", logging.ERROR))
        for _ in range(5):
            handler.emit(_record("secret\nsecond line", logging.ERROR, ValueError("secret")))
        now[0] = 10.0
        handler.emit(_record("secret", logging.ERROR, KeyError("secret")))
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "amqtt.broker: ValueError, see the log at debug"),
        ("WARNING", "amqtt.broker: KeyError, see the log at debug"),
    ]
    assert all(record.exc_info is None for record in caplog.records)
