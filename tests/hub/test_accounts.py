"""Accounts, over both databases: who may log in, what an admin changes, and that the last admin stays."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, event, select, update

from hub.account_rules import (
    Account,
    EmailTaken,
    LastAdmin,
    Malformed,
    NoSuchAccount,
    NotOffered,
    WrongLogin,
    normal_email,
)
from hub.accounts import Accounts
from hub.passwords import Argon2, Busy, Passwords
from hub.store.database import Database, StoreDown, file_url
from hub.store.tables import AccountRow
from hub.throttle import Throttle, Throttled
from tests.databases import Postgres, postgres  # noqa: F401  # a fixture
from tests.fakes import FakeClock

HERE = "192.0.2.1"
ANN = ("ann@x.org", "open sesame", "Ann")


class CountingHasher(Argon2):
    """Counts verifications."""

    def __init__(self) -> None:
        super().__init__(memory=8)
        self.verified: list[str] = []

    def verify(self, kept: str, password: str) -> bool:
        self.verified.append(kept)
        return super().verify(kept, password)


class Bench:
    """Accounts on a new database, with a clock turned by hand."""

    def __init__(self, url: str, burst: float = 1_000, waiting: int = 64) -> None:
        self.database, self.hasher, self.clock = Database(url), CountingHasher(), FakeClock()
        self.passwords = Passwords(self.hasher, waiting=waiting)
        self.accounts = Accounts(self.database, self.passwords, Throttle(burst, 0.1), self.clock)

    async def __aenter__(self) -> "Bench":
        await self.database.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.passwords.close()
        await self.database.stop()

    async def ann(self) -> Account:
        return await self.accounts.register(*ANN, HERE)

    async def admin(self, name: str = "root") -> Account:
        return await self.accounts.add(f"{name}@x.org", "root's secret", name, "admin")

    async def hash_of(self, account: Account) -> str:
        async with self.database.session() as session:
            row = await session.get_one(AccountRow, account.user_id)
            return row.password_hash


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return file_url(tmp_path / "hub.sqlite")
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_database()


@pytest.fixture
async def bench(url: str) -> AsyncIterator[Bench]:
    async with Bench(url) as bench:
        yield bench


# ---- emails


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("Ann@X.org", "ann@x.org"),
        ("admin@localhost", "admin@localhost"),
        ("JOSE\u0301@x", "josé@x"),
        ("a@" + "x" * 252, "a@" + "x" * 252),
    ],
)
def test_emails_that_are_one(given: str, kept: str) -> None:
    assert normal_email(given) == kept


@pytest.mark.parametrize(
    "given",
    [
        "",
        "@",
        "a@",
        "@b",
        "a b@c",
        "a@b@c",
        "a@b\n",
        "a@b\x00",
        "a@\ud800",
        "a@" + "x" * 253,
        "a" * 1_000_000,
        "İ" * 250 + "@x",
    ],
)
def test_what_is_no_email(given: str) -> None:
    assert normal_email(given) is None


# ---- registering


async def test_register_and_login(bench: Bench) -> None:
    ann = await bench.ann()
    assert (ann.email, ann.nickname, ann.role, ann.disabled) == ("ann@x.org", "Ann", "viewer", False)
    assert ann.user_id.startswith("u-")
    assert ann.created_at == ann.updated_at == bench.clock.wall_ms()
    assert await bench.accounts.login(*ANN[:2], HERE) == ann
    assert await bench.accounts.by_id(ann.user_id) == ann
    assert "open sesame" not in await bench.hash_of(ann)


async def test_login_in_any_spelling(bench: Bench) -> None:
    await bench.accounts.register("JOSE\u0301@X.org", "open sesame", "José", HERE)
    assert (await bench.accounts.login("josé@x.ORG", "open sesame", HERE)).nickname == "José"


async def test_an_email_has_one_account(bench: Bench) -> None:
    await bench.ann()
    for spelling in ("ann@x.org", "ANN@X.ORG"):
        with pytest.raises(EmailTaken):
            await bench.accounts.register(spelling, "another one", "Bob", HERE)


async def test_who_registers_at_once(bench: Bench) -> None:
    """Of many, one gets the address."""
    answers = await asyncio.gather(*(bench.ann() for _ in range(8)), return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["Account", *["EmailTaken"] * 7]


@pytest.mark.parametrize(
    ("email", "password", "nickname", "field"),
    [
        ("ann", "open sesame", "Ann", "email"),
        ("a@\x00", "open sesame", "Ann", "email"),
        ("ann@x", "short", "Ann", "password"),
        ("ann@x", "x" * 257, "Ann", "password"),
        ("ann@x", "open sesame", "", "nickname"),
        ("ann@x", "open sesame", "x" * 65, "nickname"),
        ("ann@x", "open sesame", "a\x00", "nickname"),
        ("ann@x", "open sesame", "\udfff", "nickname"),
    ],
)
async def test_what_cannot_be_registered(bench: Bench, email: str, password: str, nickname: str, field: str) -> None:
    with pytest.raises(Malformed, match=f"^{field}: "):
        await bench.accounts.register(email, password, nickname, HERE)


async def test_passwords_are_counted_in_characters(bench: Bench) -> None:
    for password in ("密码密码密码密码", "\U0001f600" * 256, "\ud800\x00" * 10, " " * 8):
        account = await bench.accounts.add(f"{len(password)}@{ord(password[0])}", password, "x", "viewer")
        assert await bench.accounts.login(account.email, password, HERE) == account


async def test_not_offered(bench: Bench) -> None:
    bench.accounts.guests = bench.accounts.registration = False
    with pytest.raises(NotOffered):
        bench.accounts.guest(HERE)
    with pytest.raises(NotOffered):
        await bench.ann()


# ---- logging in


@pytest.mark.parametrize(
    ("email", "password"),
    [
        ("ann@x.org", "open simsim"),
        ("ann@x.org", ""),
        ("ann@x.org", "x" * 257),
        ("ann@x.org", "open sesame" + " " * 1_000_000),
        ("ann@x.org", "open sesame\x00"),
        ("ann@x.org", "\ud800"),
        ("bob@x.org", "open sesame"),
        ("", "open sesame"),
        ("ann", "open sesame"),
        ("ann@x.org\x00", "open sesame"),
        ("ann@\ud800", "open sesame"),
        ("a@" * 100_000, "open sesame"),
        ("gone@x.org", "open sesame"),
    ],
)
async def test_whatever_is_wrong_costs_the_same(bench: Bench, email: str, password: str) -> None:
    """Unknown, disabled, wrong or impossible: one answer, one verification."""
    await bench.ann()
    gone = await bench.accounts.register("gone@x.org", "open sesame", "Gone", HERE)
    await bench.accounts.change(gone.user_id, disabled=True)
    bench.hasher.verified.clear()
    with pytest.raises(WrongLogin):
        await bench.accounts.login(email, password, HERE)
    (kept,) = bench.hasher.verified
    assert not bench.hasher.is_outdated(kept)


async def test_an_outdated_hash_is_renewed(bench: Bench) -> None:
    """At a login with the right password, and the account is not otherwise changed."""
    ann = await bench.ann()
    old = Argon2(memory=16).hash("open sesame")
    async with bench.database.session() as session:
        await session.execute(update(AccountRow).values(password_hash=old))
    with pytest.raises(WrongLogin):
        await bench.accounts.login("ann@x.org", "wrong", HERE)
    assert await bench.hash_of(ann) == old
    renewed = await bench.accounts.login(*ANN[:2], HERE)
    assert await bench.accounts.still(renewed) == renewed == ann
    assert not bench.hasher.is_outdated(await bench.hash_of(ann))
    assert await bench.accounts.login(*ANN[:2], HERE) == ann


async def test_still_so(bench: Bench) -> None:
    """A login that an admin overtakes is none; another nickname or role is told."""
    await bench.admin()
    ann = await bench.ann()
    assert await bench.accounts.still(ann) == ann
    changed = await bench.accounts.change(ann.user_id, nickname="Anna", role="admin")
    assert await bench.accounts.still(ann) == changed
    changes: tuple[dict[str, Any], ...] = ({"disabled": True}, {"disabled": False, "password": "x" * 8})
    for change in changes:
        before = changed
        changed = await bench.accounts.change(ann.user_id, **change)
        with pytest.raises(WrongLogin):
            await bench.accounts.still(before)
    assert await bench.accounts.still(changed) == changed
    await bench.accounts.delete(ann.user_id)
    with pytest.raises(WrongLogin):
        await bench.accounts.still(changed)


# ---- throttling


async def test_failed_logins_are_throttled(url: str) -> None:
    """Before any work; a right password in time gives nothing to those who guess."""
    async with Bench(url, burst=3) as bench:
        await bench.ann()
        for _ in range(3):
            with pytest.raises(WrongLogin):
                await bench.accounts.login("ann@x.org", "wrong", "192.0.2.9")
        with pytest.raises(Throttled) as caught:
            await bench.accounts.login("Ann@X.org", "open sesame", "192.0.2.9")
        assert caught.value.seconds == pytest.approx(10)
        assert len(bench.hasher.verified) == 3
        assert await bench.accounts.login(*ANN[:2], HERE)
        bench.clock.forward(10)
        assert await bench.accounts.login(*ANN[:2], "192.0.2.9")


async def test_unknown_accounts_are_throttled_alike(url: str) -> None:
    """Nobody learns from it which there are."""
    async with Bench(url, burst=3) as bench:
        for _ in range(3):
            with pytest.raises(WrongLogin):
                await bench.accounts.login("bob@x.org", "wrong", HERE)
        with pytest.raises(Throttled):
            await bench.accounts.login("bob@x.org", "wrong", HERE)


async def test_guesses_at_once(url: str) -> None:
    """None slips through while others are computed."""
    async with Bench(url, burst=3) as bench:
        await bench.ann()
        guesses = (bench.accounts.login("ann@x.org", f"guess {n}", "192.0.2.9") for n in range(50))
        answers = [type(answer) for answer in await asyncio.gather(*guesses, return_exceptions=True)]
        assert (answers.count(WrongLogin), answers.count(Throttled)) == (3, 47)


async def test_guests_and_registrations_count_for_the_address(url: str) -> None:
    async with Bench(url, burst=1) as bench:
        bench.accounts.guest(HERE)
        await bench.ann()
        with pytest.raises(EmailTaken):
            await bench.ann()
        with pytest.raises(Throttled):
            bench.accounts.guest(HERE)
        with pytest.raises(Throttled):
            await bench.ann()
        bench.accounts.guest("192.0.2.2")


async def test_what_the_hub_could_not_do_does_not_count(url: str) -> None:
    """The database is away, or too many wait: neither right nor wrong."""
    async with Bench(url, burst=2, waiting=0) as bench:
        await bench.ann()

        def fails(*_: object) -> None:
            raise OSError("away")

        engines = {bench.database._engine.sync_engine, bench.database._reader.sync_engine}
        for engine in engines:
            event.listen(engine, "before_cursor_execute", fails)
        for _ in range(20):
            with pytest.raises(StoreDown):
                await bench.accounts.login(*ANN[:2], HERE)
        for engine in engines:
            event.remove(engine, "before_cursor_execute", fails)
        bench.passwords.close()
        for _ in range(20):
            with pytest.raises(Busy):
                await bench.accounts.login(*ANN[:2], HERE)


# ---- changing one's own password


async def test_change_password(bench: Bench) -> None:
    ann = await bench.ann()
    changed = await bench.accounts.change_password(ann.user_id, "open sesame", "open simsim", HERE)
    assert changed.updated_at > ann.updated_at
    assert await bench.accounts.login("ann@x.org", "open simsim", HERE) == changed
    with pytest.raises(WrongLogin):
        await bench.accounts.login(*ANN[:2], HERE)


async def test_change_password_refused(url: str) -> None:
    async with Bench(url, burst=2) as bench:
        ann = await bench.ann()
        with pytest.raises(Malformed):
            await bench.accounts.change_password(ann.user_id, "open sesame", "short", HERE)
        with pytest.raises(NoSuchAccount):
            await bench.accounts.change_password("u-0", "open sesame", "open simsim", HERE)
        for _ in range(2):
            with pytest.raises(WrongLogin):
                await bench.accounts.change_password(ann.user_id, "wrong", "open simsim", HERE)
        with pytest.raises(Throttled):
            await bench.accounts.change_password(ann.user_id, "wrong", "open simsim", HERE)


async def test_change_password_twice_at_once(url: str) -> None:
    """Whoever knows the old one, on two nodes: one is first, and the others' old password is not it any more."""
    async with Bench(url) as one, Bench(url) as other:
        ann, old = await one.ann(), "open sesame"
        for turn in range(5):
            new = [f"password {turn} {number}" for number in range(4)]
            changes = (
                bench.accounts.change_password(ann.user_id, old, password, HERE)
                for bench, password in zip((one, other, one, other), new, strict=True)
            )
            answers = await asyncio.gather(*changes, return_exceptions=True)
            assert sorted(type(answer).__name__ for answer in answers) == ["Account", *["WrongLogin"] * 3]
            old = new[[isinstance(answer, Account) for answer in answers].index(True)]
            assert await other.accounts.login("ann@x.org", old, HERE)


# ---- what admins do


async def test_change(bench: Bench) -> None:
    ann = await bench.ann()
    bench.clock.forward(1)
    changed = await bench.accounts.change(ann.user_id, nickname="Anna", role="operator", password="open simsim")
    assert (changed.nickname, changed.role, changed.created_at) == ("Anna", "operator", ann.created_at)
    assert changed.updated_at == ann.created_at + 1_000
    assert await bench.accounts.login("ann@x.org", "open simsim", HERE) == changed


async def test_what_is_so_already_is_no_change(bench: Bench) -> None:
    ann = await bench.ann()

    async def also(*_: object) -> None:
        raise AssertionError

    assert await bench.accounts.change(ann.user_id, also=also) == ann
    assert await bench.accounts.change(ann.user_id, nickname="Ann", role="viewer", disabled=False, also=also) == ann


async def test_nobody_is_there(bench: Bench) -> None:
    changes: tuple[dict[str, Any], ...] = ({}, {"role": "admin"}, {"disabled": True}, {"password": "open simsim"})
    for change in changes:
        with pytest.raises(NoSuchAccount):
            await bench.accounts.change("u-0", **change)
    for question in (bench.accounts.by_id, bench.accounts.delete):
        with pytest.raises(NoSuchAccount):
            await question("u-0")


async def test_a_change_and_its_note_are_one(bench: Bench) -> None:
    """Without the note there is no change either."""
    await bench.admin()
    ann = await bench.ann()

    class NoNote(Exception):
        pass

    async def fails(*_: object) -> None:
        raise NoNote

    for change in (
        bench.accounts.change(ann.user_id, role="admin", also=fails),
        bench.accounts.delete(ann.user_id, also=fails),
        bench.accounts.change_password(ann.user_id, "open sesame", "open simsim", HERE, also=fails),
        bench.accounts.add("bob@x.org", "open sesame", "Bob", "viewer", also=fails),
    ):
        with pytest.raises(NoNote):
            await change
    assert await bench.accounts.login(*ANN[:2], HERE) == ann
    assert [account.nickname for account in (await bench.accounts.list())[0]] == ["Ann", "root"]


@pytest.mark.parametrize(
    "change", [{"role": "viewer"}, {"role": "operator"}, {"disabled": True}, {"role": "viewer", "disabled": True}, {}]
)
async def test_the_last_admin_stays(bench: Bench, change: dict[str, Any]) -> None:
    """An admin who is disabled does not count; `{}` stands for a delete."""
    root, other = await bench.admin(), await bench.admin("other")
    await bench.accounts.change(other.user_id, disabled=True)
    with pytest.raises(LastAdmin):
        await (bench.accounts.change(root.user_id, **change) if change else bench.accounts.delete(root.user_id))
    assert await bench.accounts.by_id(root.user_id) == root
    await bench.accounts.change(root.user_id, nickname="Root", password="another secret", role="admin", disabled=False)
    await bench.accounts.change(other.user_id, disabled=False)
    await (bench.accounts.change(root.user_id, **change) if change else bench.accounts.delete(root.user_id))


@pytest.mark.parametrize("change", [{"role": "viewer"}, {"disabled": True}, {}])
async def test_two_admins_at_once(url: str, change: dict[str, Any]) -> None:
    """Each would be the last: on two nodes, at the same time, one stays; whatever else goes on."""
    async with Bench(url) as one, Bench(url) as other:
        for _ in range(5):
            admins = [await one.admin(), await other.admin("other")]
            bystander = await one.ann()
            work = [
                bench.accounts.change(admin.user_id, **change) if change else bench.accounts.delete(admin.user_id)
                for bench, admin in zip((one, other), admins, strict=True)
            ]
            # others lock accounts in their own order
            work += [bench.accounts.change(bystander.user_id, role="operator") for bench in (one, other)]
            work += [one.accounts.change(admin.user_id, nickname="x") for admin in admins]
            answers = await asyncio.gather(*work, return_exceptions=True)
            assert [type(answer) for answer in answers[:2]].count(LastAdmin) == 1
            async with one.database.session() as session:
                left = select(AccountRow.id).where(AccountRow.role == "admin", AccountRow.disabled.is_(False))
                assert len(list(await session.scalars(left))) == 1
                await session.execute(delete(AccountRow))


async def test_list(bench: Bench) -> None:
    for number, name in enumerate(["Cy", "ann", "Bob", "100%_", "é"]):
        bench.clock.forward(1)
        await bench.accounts.add(f"{number}@x.org", "open sesame", name, "operator" if number % 2 else "viewer")

    async def names(**which: Any) -> list[str]:
        return [account.nickname for account in (await bench.accounts.list(**which))[0]]

    assert await names() == await names(sort="createdAt") == ["Cy", "ann", "Bob", "100%_", "é"]
    assert await names(sort="-createdAt") == ["é", "100%_", "Bob", "ann", "Cy"]
    assert await names(sort="-email", limit=2, offset=1) == ["100%_", "Bob"]
    assert await names(role="operator") == ["ann", "100%_"]
    assert await names(q="B") == ["Bob"]
    assert await names(q="3@X") == ["100%_"]
    assert await names(q="%_") == ["100%_"]
    assert await names(q="e\u0301") == ["é"]
    assert await names(q="'; DROP") == []
    assert await names(offset=1_000_000_000) == []
    assert (await bench.accounts.list(q="x.org", role="viewer", limit=1))[1] == 3
    assert (await bench.accounts.list(offset=7))[1] == 5


async def test_those_alike_keep_their_order(bench: Bench) -> None:
    """Page by page, everybody once."""
    for number in range(10):
        await bench.accounts.add(f"{number}@x.org", "open sesame", "same", "viewer")
    for sort in ("nickname", "-role", "createdAt"):
        pages = [(await bench.accounts.list(sort=sort, limit=3, offset=offset))[0] for offset in range(0, 12, 3)]
        ids = [account.user_id for page in pages for account in page]
        assert len(ids) == 10
        assert ids == sorted(ids)


# ---- the first admin


async def test_the_first_admin(bench: Bench) -> None:
    made = await bench.accounts.first_admin()
    assert made is not None
    assert made[0] == "admin@localhost"
    assert (await bench.accounts.login(*made, HERE)).role == "admin"
    assert await bench.accounts.first_admin() is None


async def test_several_hubs_start_at_once(url: str) -> None:
    """One admin, whose password one of them knows."""
    benches = [Bench(url) for _ in range(4)]
    for bench in benches:
        await bench.database.start()
    made = await asyncio.gather(*(bench.accounts.first_admin() for bench in benches))
    known = [answer for answer in made if answer is not None]
    assert len(known) == 1
    assert (await benches[0].accounts.login(*known[0], HERE)).role == "admin"
    assert (await benches[0].accounts.list())[1] == 1
    for bench in benches:
        await bench.__aexit__()


async def test_the_name_is_taken(bench: Bench) -> None:
    """Somebody who is no admin does not become one."""
    await bench.accounts.register("admin@localhost", "open sesame", "Mallory", HERE)
    made = await bench.accounts.first_admin()
    assert made is not None
    assert made[0] == "admin2@localhost"
    assert (await bench.accounts.login("admin@localhost", "open sesame", HERE)).role == "viewer"


async def test_a_disabled_admin_is_an_admin(bench: Bench) -> None:
    """A start of the hub makes no way around what was decided."""
    root = await bench.admin()
    async with bench.database.session() as session:
        await session.execute(update(AccountRow).values(disabled=True).where(AccountRow.id == root.user_id))
    assert await bench.accounts.first_admin() is None
