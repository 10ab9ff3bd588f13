"""What one client, and all together, may cost the broker."""

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Every bound of the broker; sizes in bytes, times in seconds.

    Attributes:
        connect_timeout: from the connection to a whole CONNECT.
        max_packet: size of a packet from a client, judged by its header.
        max_connections: clients at once; one more is told that the server is busy.
        keep_alive_max: a longer keep-alive of a version 5 client, or none, is shortened to this [MQTT-3.1.2-21]. 0: never.
        inflight: QoS 1 and 2 messages sent to a client and not yet acknowledged (a client may want fewer).
        receive_maximum: QoS 1 and 2 messages of a client that are not yet answered.
        topic_aliases: topics for which a version 5 client may use a number, each way.
        queue_messages, queue_bytes: what waits for a session that is away or slow; the oldest goes first.
        queue_qos0: QoS 0 messages wait for a session that is away, too.
        send_buffer: bytes on their way to a client, above which its QoS 0 messages are dropped and it is read no more.
        send_buffer_max: bytes above which it is disconnected.
        receive_rate: messages a second read from one client (reading pauses, nothing is dropped). 0: no limit.
        session_expiry: the longest that a session outlives its connection; what a 3.1.1 client with clean session 0 gets.
        sessions: sessions kept at once; the one that is away longest goes first.
        sessions_of_owner: the same for the clients of one station or user; one more ends its own that is away longest.
        subscriptions: of one session.
        topic_levels, topic_bytes: of a topic or a filter: topics are remembered, and each level of a retained one costs memory.
        retained, retained_bytes: messages kept before those of clients are not kept any more; the hub's own always are.
        retained_of_owner: the same for the clients of one station or user.
        token_grace: from the end of a token to the end of its connection.
        sys_interval: between two updates of `$SYS/broker`. 0: none.
    """

    connect_timeout: float = 10.0
    max_packet: int = 1_000_000
    max_connections: int = 100_000
    keep_alive_max: int = 0
    inflight: int = 1_000
    receive_maximum: int = 1_000
    topic_aliases: int = 64
    queue_messages: int = 1_000
    queue_bytes: int = 16_000_000
    queue_qos0: bool = False
    send_buffer: int = 1_000_000
    send_buffer_max: int = 8_000_000
    receive_rate: float = 0.0
    session_expiry: float = 3_600.0
    sessions: int = 100_000
    sessions_of_owner: int = 2_000
    subscriptions: int = 10_000
    topic_levels: int = 128
    topic_bytes: int = 1_024
    retained: int = 100_000
    retained_bytes: int = 256_000_000
    retained_of_owner: int = 10_000
    token_grace: float = 30.0
    sys_interval: float = 10.0
