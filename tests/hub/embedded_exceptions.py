"""What stock amqtt 0.12.1 cannot do right: the next data plane must empty this table.

A case of `test_link.py` or `test_access.py` that carries `@beyond_stock(name)` is expected to fail on the embedded link,
strictly: one that passes there fails the suite until its row is gone. Rows of `UNTESTED` are too slow or too racy to prove.
"""

from typing import Final

__all__ = ["EMBEDDED_EXCEPTIONS", "UNTESTED"]

EMBEDDED_EXCEPTIONS: Final[dict[str, str]] = {
    "takeover": "the older connection of a client id stays open",
    "takeover of a kept session": "the connection that takes a kept session over is served no more",
    "keep-alive": "a silent client is never noticed: no will, it stays connected for ever",
    "retained only to the subscription made": "a client that connects gets what other clients retained for anyone's filter",
    "QoS of a delivery": "a QoS 0 message of a client is sent at the subscription's QoS, not at the lower one",
    "QoS of a second subscription": "subscribing again with another QoS changes nothing",
    "queued messages": "what was queued for a kept session is sent with the RETAIN flag",
    "unacknowledged messages": "a QoS 1 message that was not acknowledged is not sent again",
    "burst before DISCONNECT": "what a client sent just before its DISCONNECT is lost, except the first",
    "payload smuggling": "the payload of a refused PUBLISH is read as packets",
    "will after a $ topic": "a client that publishes to a $ topic is served no more, and its will is lost",
    "MQTT 5": "its CONNECT is misread",
}

UNTESTED: Final[dict[str, str]] = {
    "subscribing during a delivery": "a message on its way when another client subscribes may miss later subscribers",
    "slow consumers": "queues to and from clients have no bound; nobody is disconnected for being slow",
    "acknowledgement timeout": "a QoS 1 message that is not acknowledged within 5 s is dropped",
    "size of other packets": "PUBLISH is limited to 1,000,000 bytes, a SUBSCRIBE is not",
    "a will at once": "a takeover may publish the will of a live session, so a will makes a station suspect, no more",
    "restart": "retained messages and kept sessions are in memory only",
}
