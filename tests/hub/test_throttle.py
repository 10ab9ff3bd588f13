"""Attempts to log in: how many, from where, on what; nobody is locked out by others for long."""

import pytest

from hub.limits import TokenBucket
from hub.throttle import Attempt, Throttle, Throttled, network_of


def attempts(throttle: Throttle, address: str, subject: str | None = None, *, now: float = 0.0) -> int:
    """How many are allowed at once."""
    for allowed in range(10_000):
        try:
            throttle.take(now, address, subject)
        except Throttled:
            return allowed
    raise AssertionError("no limit")


def test_a_bucket_says_how_long_to_wait() -> None:
    bucket = TokenBucket(0.5, 2)
    assert bucket.wait(0) == 0
    assert bucket.is_full(0)
    assert bucket.take(0)
    assert bucket.take(0)
    assert not bucket.take(0)
    assert bucket.wait(0) == pytest.approx(2)
    assert bucket.wait(1.5) == pytest.approx(0.5)
    assert bucket.wait(2) == 0
    bucket.give()
    assert bucket.take(0)
    assert not bucket.is_full(3.9)
    assert bucket.is_full(4.1)


def test_given_back_is_never_more_than_was_taken() -> None:
    bucket = TokenBucket(1, 2)
    bucket.take(0)
    bucket.give()
    assert [bucket.take(0) for _ in range(3)] == [True, True, False]


def test_an_account_from_one_address() -> None:
    throttle = Throttle(5, 0.1)
    assert attempts(throttle, "192.0.2.1", "ann@x") == 5
    with pytest.raises(Throttled) as caught:
        throttle.take(0, "192.0.2.1", "ann@x")
    assert caught.value.seconds == pytest.approx(10)
    assert attempts(throttle, "192.0.2.1", "ann@x", now=10.01) == 1


def test_an_address_whatever_it_tries() -> None:
    throttle = Throttle(5, 0.1)
    for user in range(3):
        assert attempts(throttle, "192.0.2.1", f"{user}@x") == 5
    assert attempts(throttle, "192.0.2.1", "another@x") == 0
    assert attempts(throttle, "192.0.2.1") == 0
    assert attempts(throttle, "192.0.2.2") == 15


def test_what_is_refused_takes_nothing() -> None:
    """Somebody who hammers on does not push the time away at which they may try again."""
    throttle = Throttle(5, 0.1)
    attempts(throttle, "192.0.2.1", "ann@x")
    for tenth in range(95):
        with pytest.raises(Throttled):
            throttle.take(tenth / 10, "192.0.2.1", "ann@x")
    throttle.take(10.01, "192.0.2.1", "ann@x")


def test_an_account_from_everywhere() -> None:
    """Many addresses together have ten times as many, and no more."""
    throttle = Throttle(5, 0.1)
    allowed = sum(attempts(throttle, f"192.0.2.{host}", "ann@x") for host in range(100))
    assert allowed == 50
    assert attempts(throttle, "198.51.100.1", "ann@x", now=1.01) == 1


def test_the_owner_is_not_locked_out() -> None:
    """From where an account has logged in, others' failures elsewhere do not count; its own do."""
    throttle = Throttle(5, 0.1)
    throttle.take(0, "198.51.100.1", "ann@x").succeeded()
    for host in range(100):
        attempts(throttle, f"192.0.2.{host}", "ann@x")
    assert attempts(throttle, "198.51.100.2", "ann@x") == 0
    assert attempts(throttle, "198.51.100.1", "ann@x") == 5


def test_right_ones_do_not_count() -> None:
    """An office behind one address may log in as often as it likes; guests and new accounts are counted."""
    throttle = Throttle(5, 0.1)
    for _ in range(100):
        throttle.take(0, "192.0.2.1", "ann@x").succeeded()
    assert attempts(throttle, "192.0.2.1", "ann@x") == 5
    for _ in range(10):
        throttle.take(0, "192.0.2.1").succeeded()
    with pytest.raises(Throttled):
        throttle.take(0, "192.0.2.1")


def test_attempts_at_once_count_before_they_are_decided() -> None:
    throttle = Throttle(5, 0.1)
    open_attempts = [throttle.take(0, "192.0.2.1", "ann@x") for _ in range(5)]
    with pytest.raises(Throttled):
        throttle.take(0, "192.0.2.1", "ann@x")
    open_attempts[0].succeeded()
    assert attempts(throttle, "192.0.2.1", "ann@x") == 1


def test_what_came_to_nothing_counts_for_nothing() -> None:
    throttle = Throttle(5, 0.1)
    for _ in range(100):
        throttle.take(0, "192.0.2.1", "ann@x").undone()
    assert attempts(throttle, "192.0.2.1", "ann@x") == 5


def test_no_limit() -> None:
    throttle = Throttle(1, 0)
    for _ in range(1_000):
        assert throttle.take(0, "192.0.2.1", "ann@x") == Attempt()
    assert len(throttle) == 0


def test_memory_is_bounded() -> None:
    throttle = Throttle(5, 0.1, keys=100)
    for number in range(1_000):
        throttle.take(0, f"10.0.{number // 256}.{number % 256}", f"{number}@x")
    assert len(throttle) == 300


def test_what_is_full_again_is_forgotten() -> None:
    throttle = Throttle(5, 0.1)
    for number in range(1_000):
        throttle.take(0, f"10.0.{number // 256}.{number % 256}", f"{number}@x")
    assert len(throttle) == 3_000
    throttle.take(20, "192.0.2.1", "ann@x")
    assert len(throttle) == 3


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", True),
        ("2001:db8::1", "2001:DB8:0:0:1234::", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("::1", "127.0.0.1", False),
        ("", "a socket", False),
    ],
)
def test_what_counts_as_one_address(one: str, other: str, same: bool) -> None:
    assert (network_of(one) == network_of(other)) is same


def test_a_long_address_is_cut() -> None:
    assert len(network_of("x" * 10_000)) == 64
