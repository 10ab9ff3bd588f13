"""Who is good now: sessions that survive a restart, revocation, keys that are fetched, device keys on MQTT."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from devices.messages import UserRecord
from hub.auth import DAY, Identity, TokenRefused, Tokens
from hub.authentication import Authenticator
from hub.credentials import KEY_LENGTH, Credentials, hash_key, new_key
from hub.embedded import EmbeddedLink
from hub.sessions import ClearUser, Effect, Kick, PublishUser, SessionMismatch
from hub.store.database import Database, StoreDown, file_url
from hub.store.sessions import StoredSessions
from tests.databases import Postgres, postgres  # noqa: F401  # a fixture
from tests.fakes import FakeClock
from tests.hub.client import Client, connect_packet, eventually
from tests.hub.conftest import SECRET


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    if request.param == "sqlite":
        url = file_url(tmp_path / "hub.sqlite")
    else:
        server: Postgres = request.getfixturevalue("postgres")
        url = server.new_database()
    async with Database(url) as running:
        yield running


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def tokens(clock: FakeClock) -> Tokens:
    return Tokens(SECRET, clock=lambda: clock.wall / 1000)


def made(tokens: Tokens, clock: FakeClock, store: StoredSessions | None = None) -> tuple[Authenticator, list[Effect]]:
    """One, and what it told."""
    told: list[Effect] = []
    found = Authenticator(tokens, store=store, clock=lambda: clock.wall / 1000)
    found.watch(told.extend)
    return found, told


class TestSessions:
    async def test_a_login_ends_the_older(self, tokens: Tokens, clock: FakeClock) -> None:
        """Also when both are of the same instant, and when the older was issued by a clock that is ahead."""
        authenticator, told = made(tokens, clock)
        ahead = Tokens(SECRET, clock=lambda: clock.wall / 1000 + 20).mint_user("u1")
        authenticator.authenticate(ahead)
        first = await authenticator.sign_in("u1", role="viewer")
        second = await authenticator.sign_in("u1", role="viewer")
        for old in (ahead, first):
            with pytest.raises(SessionMismatch):
                authenticator.authenticate(old)
        identity = authenticator.authenticate(second)
        assert told[-1] == Kick("u1", identity.session_id)

    async def test_a_clock_that_was_put_right(self, tokens: Tokens, clock: FakeClock) -> None:
        """Who logged in while it was an hour ahead may log in again."""
        authenticator, _ = made(tokens, clock)
        clock.forward(3_600)
        ahead = await authenticator.sign_in("u1", role="viewer")
        clock.forward(-3_600)
        token = await authenticator.sign_in("u1", role="viewer")
        assert authenticator.authenticate(token).issued_at == clock.wall / 1000
        with pytest.raises((SessionMismatch, TokenRefused)):
            authenticator.authenticate(ahead)
        await authenticator.end_sessions("u1")
        with pytest.raises(SessionMismatch):
            authenticator.authenticate(token)

    async def test_guests_stand_for_themselves(self, tokens: Tokens, clock: FakeClock) -> None:
        authenticator, told = made(tokens, clock)
        first = await authenticator.sign_in("g", role=None, type="guest")
        await authenticator.sign_in("g", role=None, type="guest")
        assert authenticator.authenticate(first).type == "guest"
        assert told == []

    async def test_ended(self, tokens: Tokens, clock: FakeClock) -> None:
        """No token of before is good any more; a login afterwards is."""
        authenticator, told = made(tokens, clock)
        token = await authenticator.sign_in("u1", role="admin")
        await authenticator.end_sessions("u1")
        with pytest.raises(SessionMismatch):
            authenticator.authenticate(token)
        assert isinstance(told[-2], PublishUser)
        assert isinstance(told[-1], Kick)
        assert authenticator.authenticate(await authenticator.sign_in("u1", role="viewer")).role == "viewer"

    async def test_a_guest_who_left(self, database: Database, tokens: Tokens, clock: FakeClock) -> None:
        """Is out, also after a restart; and forgotten when no token can be good any more."""
        store = StoredSessions(database)
        authenticator, told = made(tokens, clock, store)
        token = await authenticator.sign_in("guest-1", role=None, type="guest")
        other = await authenticator.sign_in("guest-2", role=None, type="guest")
        await authenticator.end_sessions("guest-1")
        after, _ = made(tokens, clock, store)
        await after.start()
        for one in (authenticator, after):
            with pytest.raises(SessionMismatch):
                one.authenticate(token)
            assert one.authenticate(other)
        clock.forward(DAY - 10)
        await authenticator.prune()
        assert set(await store.load()) == {"guest-1"}
        clock.forward(100)
        await authenticator.prune()
        assert await store.load() == {}
        assert told[-1] == ClearUser("guest-1")
        with pytest.raises(TokenRefused):
            authenticator.authenticate(token)
        await after.stop()

    @pytest.mark.parametrize("what", ["login", "end"])
    async def test_another_node_whose_clock_is_ahead(
        self, database: Database, tokens: Tokens, clock: FakeClock, what: str
    ) -> None:
        """A login, or an end, is newer than a session that this node has not heard of yet."""
        store = StoredSessions(database)
        authenticator, _ = made(tokens, clock, store)
        ahead = UserRecord(session_id="zzz", issued_at=clock.wall / 1000 + 20)
        await store.save({"u1": ahead})
        if what == "login":
            assert authenticator.authenticate(await authenticator.sign_in("u1", role="viewer"))
        else:
            await authenticator.end_sessions("u1")
        standing = (await store.load())["u1"]
        assert standing.issued_at > ahead.issued_at
        assert standing == authenticator.sessions.newest("u1")

    async def test_a_refreshed_token_is_of_the_same_session(self, tokens: Tokens, clock: FakeClock) -> None:
        authenticator, told = made(tokens, clock)
        token = await authenticator.sign_in("u1", role="viewer")
        session_id = authenticator.authenticate(token).session_id
        told.clear()
        clock.forward(3_600)
        again = tokens.mint_user("u1", role="viewer", session_id=session_id, lifetime=DAY)
        assert authenticator.authenticate(again).session_id == session_id
        assert authenticator.authenticate(token)
        assert told == []

    async def test_what_came_before_anybody_listened(self, tokens: Tokens, clock: FakeClock) -> None:
        authenticator = Authenticator(tokens)
        authenticator.authenticate(tokens.mint_user("u1"))
        told: list[Effect] = []
        authenticator.watch(told.extend)
        assert isinstance(told[0], PublishUser)

    @pytest.mark.parametrize("how", ["login", "elsewhere", "ended"])
    async def test_a_kick_survives_a_restart(
        self, database: Database, tokens: Tokens, clock: FakeClock, how: str
    ) -> None:
        store = StoredSessions(database)
        authenticator, _ = made(tokens, clock, store)
        await authenticator.start()
        old = await authenticator.sign_in("u1", role="viewer")
        clock.forward(1)
        if how == "login":
            await authenticator.sign_in("u1", role="viewer")
        elif how == "elsewhere":
            authenticator.authenticate(tokens.mint_user("u1"))
        else:
            await authenticator.end_sessions("u1")
        await authenticator.stop()
        after, _ = made(tokens, clock, store)
        await after.start()
        with pytest.raises(SessionMismatch):
            after.authenticate(old)
        await after.stop()

    async def test_a_login_is_written_once(self, tokens: Tokens, clock: FakeClock) -> None:
        """Before its token is given out; one issued elsewhere as soon as it is seen."""
        store = _Away()
        authenticator, _ = made(tokens, clock, store)
        await authenticator.start()
        await authenticator.sign_in("u1", role="viewer")
        await authenticator.end_sessions("u1")
        assert store.saves == 2
        await authenticator.stop()
        assert store.saves == 2

    async def test_a_database_that_is_away(self, tokens: Tokens, clock: FakeClock) -> None:
        """A session issued elsewhere is admitted, and written when the database is back; a login of ours says no."""
        store = _Away()
        authenticator, _ = made(tokens, clock, store)
        await authenticator.start()
        store.away = True
        authenticator.authenticate(tokens.mint_user("u1"))
        with pytest.raises(StoreDown):
            await authenticator.sign_in("u2", role="viewer")
        await asyncio.wait_for(store.tried.wait(), 30)
        store.away = False
        await authenticator.stop()
        assert set(store.kept) == {"u1"}


class _Away(StoredSessions):
    """A store that can be out of reach."""

    def __init__(self) -> None:
        self.away, self.tried, self.saves = False, asyncio.Event(), 0
        self.kept: dict[str, UserRecord] = {}

    async def load(self) -> dict[str, UserRecord]:
        return {}

    async def save(self, records: Mapping[str, UserRecord]) -> dict[str, UserRecord]:
        self.tried.set()
        self.saves += 1
        if self.away:
            raise StoreDown("the database is away")
        self.kept |= records
        return dict(records)


class TestStoredSessions:
    async def test_the_newer_stays(self, database: Database) -> None:
        """Whoever writes last, and at the same time."""
        store = StoredSessions(database)
        records = [UserRecord(session_id=f"s{n}", issued_at=float(n)) for n in (3, 9, 1, 7)]
        await asyncio.gather(*(store.save({"u1": one, "u2": one}) for one in records))
        await store.save({"u1": UserRecord(session_id="s0", issued_at=9.0)})
        assert (await store.load())["u1"] == UserRecord(session_id="s9", issued_at=9.0)
        assert (await store.load())["u2"].session_id == "s9"


class TestCredentials:
    def test_device_keys(self) -> None:
        credentials, key = Credentials(), new_key()
        assert credentials.opened_by("st-1", key) is None
        credentials.set("st-1", hash_key(key), 7.0)
        assert credentials.opened_by("st-1", key) == 7.0
        assert credentials.opened_by("st-2", key) is None
        assert credentials.opened_by("st-1", new_key()) is None
        assert credentials.opened_by("st-1", "\ud800") is None
        assert len(key) == KEY_LENGTH

    def test_revoked(self, tokens: Tokens, clock: FakeClock) -> None:
        """What was issued before is refused, what comes after is not, and an older word changes nothing."""
        authenticator, now = Authenticator(tokens), clock.wall / 1000
        before = tokens.mint_station("st-1")
        assert authenticator.credentials.revoke("st-1", now + 1)
        assert not authenticator.credentials.revoke("st-1", now)
        with pytest.raises(TokenRefused):
            authenticator.authenticate(before)
        assert authenticator.authenticate(tokens.mint_station("st-2"))
        clock.forward(1)
        assert authenticator.authenticate(tokens.mint_station("st-1"))
        assert authenticator.credentials.revoked() == [("st-1", now + 1)]

    def test_clocks(self, tokens: Tokens, clock: FakeClock) -> None:
        """What a key gave goes by the key, not the clock; another issuer's clock may be ahead, ours is not."""
        authenticator, now = Authenticator(tokens, clock=lambda: clock.wall / 1000), clock.wall / 1000
        credentials, key = authenticator.credentials, new_key()
        credentials.set("st-1", hash_key(key), 0.0)
        early = tokens.mint_station("st-1", generation=0.0)
        credentials.set("st-1", hash_key(key), now + 3_600)  # by a clock that was ahead
        clock.forward(1)
        assert authenticator.authenticate(tokens.mint_station("st-1", generation=now + 3_600))
        identity = authenticator.station_with_key("st-1", key)
        assert identity is not None
        assert not credentials.refuses(identity)
        for token in (early, tokens.mint_station("st-1", generation=0.0), tokens.mint_station("st-1")):
            with pytest.raises(TokenRefused):
                authenticator.authenticate(token)
        elsewhere = Identity(
            user_id="station:st-2", type="station", role="station", station_id="st-2", issued_at=now + 29
        )
        credentials.set("st-2", None, now)
        assert credentials.refuses(elsewhere)
        assert not credentials.refuses(replace(elsewhere, issuer_is_us=True))

    def test_the_old_key_while_it_is_replaced(self, tokens: Tokens) -> None:
        """Whoever is let in by it between the commit and the word of it is cut off by that word."""
        authenticator, key = Authenticator(tokens), new_key()
        authenticator.credentials.set("st-1", hash_key(key), 0.0)
        late = authenticator.station_with_key("st-1", key)
        assert late is not None
        authenticator.credentials.set("st-1", hash_key(new_key()), late.issued_at + 0.001)
        assert authenticator.credentials.refuses(late)


class TestMqtt:
    @pytest.fixture
    async def link(self) -> AsyncIterator[EmbeddedLink]:
        self.tokens = Tokens(SECRET)
        self.authenticator = Authenticator(self.tokens)
        async with EmbeddedLink(authenticator=self.authenticator, mqtt_port=0, mqtt_ws_port=0) as link:
            yield link

    async def connect(self, link: EmbeddedLink, username: str, password: str) -> Client:
        return await Client.connect(link.mqtt_port, connect_packet("c", username, password))

    async def test_a_device_key_is_a_password(self, link: EmbeddedLink) -> None:
        key = new_key()
        self.authenticator.credentials.set("st-1", hash_key(key), 0.0)
        assert (await self.connect(link, "st-1", key)).code == 0
        assert (await self.connect(link, "st-2", key)).code == 5
        assert (await self.connect(link, "st-1", new_key())).code == 5
        assert (await self.connect(link, "st-1", self.tokens.mint_station("st-1"))).code == 0

    async def test_a_revoked_station_is_cut(self, link: EmbeddedLink) -> None:
        """At once, and its old key and token are no good; its new ones are."""
        key = new_key()
        self.authenticator.credentials.set("st-1", hash_key(key), 0.0)
        token = self.tokens.mint_station("st-1")
        client, other = await self.connect(link, "st-1", key), await self.connect(link, "st-2", "")
        assert other.code == 5
        later = new_key()
        valid_from = self.authenticator.station_named("st-1").issued_at + 0.001
        self.authenticator.credentials.set("st-1", hash_key(later), valid_from)
        link.cut("station:st-1", self.authenticator.credentials.refuses, end=True)
        await asyncio.wait_for(client.closed.wait(), 30)
        assert (await self.connect(link, "st-1", key)).code == 5
        assert (await self.connect(link, "st-1", token)).code == 5
        await eventually(lambda: self.authenticator.station_named("st-1").issued_at >= valid_from)
        assert (await self.connect(link, "st-1", later)).code == 0

    async def test_a_replaced_session_is_refused(self, link: EmbeddedLink) -> None:
        """An admin's older token, on MQTT as everywhere."""
        old = await self.authenticator.sign_in("boss", role="admin")
        assert (await self.connect(link, "x", old)).code == 0
        new = await self.authenticator.sign_in("boss", role="admin")
        assert (await self.connect(link, "x", old)).code == 5
        assert (await self.connect(link, "x", new)).code == 0
