"""What a commit holds outlives the process; what cannot be kept is told, and not forgotten."""

import math
import resource
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hub.broker import storage
from hub.broker.storage import (
    Storage,
    StorageError,
    Stored,
    StoredDelivery,
    StoredMessage,
    StoredSession,
    StoredSubscription,
    Synchronous,
)

KEY = ("station:s1", "s1")
OTHER = ("station:s1", "another client")
EMPTY = Stored([], {}, {}, 0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hub.db"


@pytest.fixture
def store(path: Path) -> Iterator[Storage]:
    """An open storage of a new file."""
    store = Storage(path)
    assert store.open() == EMPTY
    yield store
    store.close()


def message(topic: str = "stations/s1/cmd", payload: bytes = b"open", expires: float | None = None) -> StoredMessage:
    return StoredMessage(topic, payload, 1, b"\x01\x01", expires)


def delivery(id: int, message: int, packet_id: int | None = None, released: bool = False) -> StoredDelivery:
    return StoredDelivery(id, message, 1, False, (), packet_id, released)


def keep(store: Storage) -> None:
    store.write()
    store.commit()


def reopen(store: Storage) -> Stored:
    store.close()
    return store.open()


def fill(store: Storage) -> None:
    """One of everything, and a second session without anything."""
    store.save_session(KEY, math.inf, None, b"\x00attributes")
    store.save_session(OTHER, 30.5, 1_700_000_000.25, b"")
    store.save_subscription(KEY, StoredSubscription("stations/+/status", 0b101101, 268_435_455))
    store.save_subscription(KEY, StoredSubscription("车站/#", 1, None))
    store.save_message(1, message())
    store.save_message(2, message("车站", b"\x00\xff" * 4000, 1_700_000_000.5))
    store.save_delivery(KEY, StoredDelivery(4, 2, 2, True, (1, 268_435_455), 65535, True))
    store.save_delivery(KEY, delivery(3, 1))
    store.save_delivery(OTHER, delivery(5, 1))
    store.save_incoming(KEY, 65535)
    store.save_incoming(KEY, 1)
    store.save_retained(message("live/stations/s1", b""))
    store.save_retained(message("live/nodes/n1", expires=1.5))


FULL = Stored(
    [
        StoredSession(
            KEY,
            math.inf,
            None,
            b"\x00attributes",
            [StoredSubscription("stations/+/status", 0b101101, 268_435_455), StoredSubscription("车站/#", 1, None)],
            [delivery(3, 1), StoredDelivery(4, 2, 2, True, (1, 268_435_455), 65535, True)],
            {1, 65535},
        ),
        StoredSession(OTHER, 30.5, 1_700_000_000.25, b"", [], [delivery(5, 1)]),
    ],
    {"live/stations/s1": message("live/stations/s1", b""), "live/nodes/n1": message("live/nodes/n1", expires=1.5)},
    {1: message(), 2: message("车站", b"\x00\xff" * 4000, 1_700_000_000.5)},
    5,
)


def test_everything_comes_back(store: Storage) -> None:
    """Each kind, with its extreme values, through two reopenings; flags come back as bool."""
    fill(store)
    keep(store)
    stored = reopen(store)
    assert stored == FULL
    assert stored.sessions[0].deliveries[1].released is True
    assert stored.sessions[0].deliveries[0].retain is False
    assert reopen(store) == FULL


def test_close_keeps_what_is_noted(store: Storage, path: Path) -> None:
    """Notes of no commit are committed at the close, and the log beside the file is gone."""
    fill(store)
    assert reopen(store) == FULL
    store.close()
    assert sorted(file.name for file in path.parent.iterdir()) == ["hub.db", "hub.db.lock"]
    store.close()  # once more does nothing
    with pytest.raises(StorageError, match="is not open"):
        store.write()


def test_changes_after_reopening(store: Storage) -> None:
    """Everything stored by an earlier process can be changed and deleted by the next."""
    fill(store)
    reopen(store)
    store.save_session(KEY, 5, 7, b"new")
    store.save_subscription(KEY, StoredSubscription("车站/#", 2, 9))
    store.delete_subscription(KEY, "stations/+/status")
    store.save_delivery(KEY, delivery(3, 1, 17, released=True))
    store.delete_delivery(KEY, 4)
    store.delete_message(2)
    store.delete_incoming(KEY, 65535)
    store.save_retained(message("live/nodes/n1", b"changed"))
    store.delete_retained("live/stations/s1")
    store.delete_session(OTHER)
    changed = StoredSession(
        KEY, 5, 7, b"new", [StoredSubscription("车站/#", 2, 9)], [delivery(3, 1, 17, released=True)], {1}
    )
    assert reopen(store) == Stored(
        [changed], {"live/nodes/n1": message("live/nodes/n1", b"changed")}, {1: message()}, 3
    )


def test_the_later_note_counts(store: Storage) -> None:
    """Saved and deleted, or deleted and saved, in one batch and over several."""
    fill(store)
    for committed in (False, True):
        changes: list[Callable[[], None]] = [
            lambda: store.delete_retained("live/nodes/n1"),
            lambda: store.save_retained(message("live/nodes/n1", b"again")),
            lambda: store.delete_subscription(KEY, "车站/#"),
            lambda: store.save_subscription(KEY, StoredSubscription("车站/#", 3, None)),
            lambda: store.save_incoming(KEY, 7),
            lambda: store.delete_incoming(KEY, 7),
            lambda: store.delete_delivery(KEY, 3),
            lambda: store.save_delivery(KEY, delivery(3, 1, 8)),
        ]
        for change in changes:
            change()
            if committed:
                keep(store)
        stored = reopen(store)
        assert stored.retained["live/nodes/n1"].payload == b"again"
        assert StoredSubscription("车站/#", 3, None) in stored.sessions[0].subscriptions
        assert stored.sessions[0].incoming == {1, 65535}
        assert stored.sessions[0].deliveries[0].packet_id == 8


@pytest.mark.parametrize("committed", [False, True])
def test_a_new_session_of_a_deleted_key_is_empty(store: Storage, committed: bool) -> None:
    """Deleted and made anew in one batch, whether or not the old one is in the file; other sessions keep what is theirs."""
    fill(store)
    if committed:
        keep(store)
    store.delete_session(KEY)
    store.delete_delivery(KEY, 3)  # a straggler
    store.delete_incoming(KEY, 1)
    store.delete_subscription(KEY, "车站/#")
    store.save_session(KEY, 1, None, b"new")
    store.save_subscription(KEY, StoredSubscription("new", 1, None))
    assert sorted(reopen(store).sessions, key=lambda session: session.key) == [
        FULL.sessions[1],
        StoredSession(KEY, 1, None, b"new", [StoredSubscription("new", 1, None)]),
    ]


def test_many_sessions_deleted_at_once(store: Storage, path: Path) -> None:
    """More than fit one statement."""
    keys = [("owner", str(number)) for number in range(1201)]
    store.save_message(1, message())
    for id, key in enumerate(keys, 2):
        store.save_session(key, 60, None, b"")
        store.save_delivery(key, delivery(id, 1))
    keep(store)
    for key in keys[1:]:
        store.delete_session(key)
    keep(store)
    reader = sqlite3.connect(path)
    assert reader.execute("SELECT count(*) FROM deliveries").fetchone() == (1,)  # not left to the next opening
    reader.close()
    assert reopen(store).sessions == [StoredSession(keys[0], 60, None, b"", [], [delivery(2, 1)])]


def test_what_belongs_to_nothing_is_dropped(store: Storage) -> None:
    """Parts without a session, deliveries without a message, messages without a delivery."""
    fill(store)
    store.save_message(10, message())
    store.save_delivery(KEY, delivery(11, 999))
    nobody = ("nobody", "")
    store.save_delivery(nobody, delivery(12, 1))
    store.save_incoming(nobody, 1)
    store.save_subscription(nobody, StoredSubscription("a", 0, None))
    assert reopen(store) == FULL


def test_what_is_done_before_a_commit_is_never_written(store: Storage, path: Path) -> None:
    """A message acknowledged before the commit costs no SQL; dirty tells what waits."""
    store.save_session(KEY, 60, None, b"")
    keep(store)
    log = path.with_name("hub.db-wal")
    size = log.stat().st_size
    assert not store.dirty
    store.save_message(1, message())
    store.save_delivery(KEY, delivery(2, 1))
    store.save_incoming(KEY, 5)
    store.save_retained(message())
    assert store.dirty
    store.delete_delivery(KEY, 2)
    store.delete_message(1)
    store.delete_incoming(KEY, 5)
    store.delete_retained(message().topic)
    keep(store)
    assert not store.dirty
    assert log.stat().st_size == size
    assert store._held is None  # nothing committed is remembered
    assert reopen(store) == Stored([StoredSession(KEY, 60, None, b"")], {}, {}, 0)


def test_notes_between_write_and_commit_wait_for_the_next(store: Storage, path: Path) -> None:
    """They are not in the open transaction; a delete of a row in it is written later, not cancelled."""
    store.save_session(KEY, 60, None, b"")
    store.save_message(1, message())
    store.save_delivery(KEY, delivery(2, 1))
    store.write()
    assert not store.dirty
    store.delete_delivery(KEY, 2)
    store.delete_message(1)
    store.save_retained(message())
    assert store.dirty
    with sqlite3.connect(path) as reader:
        assert reader.execute("SELECT count(*) FROM deliveries").fetchone() == (0,)
        store.commit()
        assert reader.execute("SELECT count(*) FROM deliveries").fetchone() == (1,)
        assert reader.execute("SELECT count(*) FROM retained").fetchone() == (0,)
    reader.close()
    assert store.dirty
    assert reopen(store) == Stored([StoredSession(KEY, 60, None, b"")], {message().topic: message()}, {}, 0)


def test_two_writes_in_one_commit(store: Storage) -> None:
    """The second joins the open transaction."""
    fill(store)
    store.write()
    store.delete_session(OTHER)
    store.write()
    store.commit()
    assert reopen(store).sessions == FULL.sessions[:1]


def test_a_full_disk_loses_nothing(store: Storage) -> None:
    """A failed write says so and keeps its notes; later notes replace them; with space again all is written."""
    fill(store)
    keep(store)
    assert store._db is not None
    store._db.execute("PRAGMA max_page_count = 1")  # SQLite makes that the present size
    store.save_message(6, message(payload=bytes(100_000)))
    store.save_delivery(KEY, delivery(7, 6))
    store.save_retained(message("a", bytes(100_000)))
    for _ in range(2):
        with pytest.raises(StorageError, match=r"hub\.db: database or disk is full; free space") as caught:
            store.write()
        assert caught.value.path.name == "hub.db"
        assert not store._db.in_transaction
        assert store.dirty
        with pytest.raises(StorageError, match="not written"):
            store.commit()
    store.save_delivery(KEY, delivery(7, 6, 99))
    store.delete_retained("a")
    store.delete_session(OTHER)
    store._db.execute("PRAGMA max_page_count = 1000000")
    keep(store)
    assert not store.dirty
    stored = reopen(store)
    assert stored.sessions[0].deliveries == [*FULL.sessions[0].deliveries, delivery(7, 6, 99)]
    assert len(stored.sessions) == 1
    assert stored.messages[6].payload == bytes(100_000)
    assert stored.retained == FULL.retained


def test_a_failed_commit_loses_nothing(store: Storage, path: Path) -> None:
    """The write-ahead log may not grow: COMMIT itself fails, and the next one holds everything."""
    keep(store)
    fill(store)
    store.write()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.with_name("hub.db-wal").stat().st_size + 5000, hard))
    try:
        with pytest.raises(StorageError, match=r"hub\.db: "):
            store.commit()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert store.dirty
    store.delete_session(OTHER)
    keep(store)
    assert not store.dirty
    assert reopen(store) == FULL._replace(sessions=FULL.sessions[:1], last_id=4)


def test_close_without_space_says_so_and_frees_the_file(path: Path) -> None:
    store = Storage(path)
    store.open()
    assert store._db is not None
    store._db.execute("PRAGMA max_page_count = 1")
    store.save_retained(message(payload=bytes(100_000)))
    with pytest.raises(StorageError, match="disk is full"):
        store.close()
    assert not store.dirty
    assert store.open() == EMPTY
    store.save_session(KEY, 1, None, b"")
    assert reopen(store).sessions == [StoredSession(KEY, 1, None, b"")]
    store.close()


def test_a_checkpoint_runs_beside_the_writer(store: Storage, path: Path) -> None:
    """In another thread, with a transaction open; it copies the log. The commit may be in a thread, too."""
    fill(store)
    keep(store)
    store.save_retained(message("open"))
    store.write()
    before = path.stat().st_size
    for work in (store.checkpoint, store.commit):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(30)
    assert path.stat().st_size > before
    assert reopen(store).retained == {**FULL.retained, "open": message("open")}


def test_the_log_is_bounded_under_load(store: Storage, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commits that arrive while a checkpoint runs do not make the log grow for ever."""
    monkeypatch.setattr(storage, "_WAL_LIMIT", 50)
    log, sizes = path.with_name("hub.db-wal"), []
    for number in range(400):
        store.save_retained(message("a", number.to_bytes(2) * 2000))
        store.write()
        if number % 20 == 0:
            store.checkpoint()  # never sees the commit that follows
        store.commit()
        sizes.append(log.stat().st_size)
    assert max(sizes) < 4096 * 200  # 400 commits of at least 2 pages are 800
    assert reopen(store).retained["a"].payload == (399).to_bytes(2) * 2000


WRITER = """
import sys
from pathlib import Path
from hub.broker.storage import Storage, StoredDelivery, StoredMessage
store = Storage(Path(sys.argv[1]), synchronous=sys.argv[2])
store.open()
store.save_session(("a", "b"), 60, None, b"")
for id in range(1, 1_000_000, 2):
    store.save_message(id, StoredMessage("t", str(id).encode() * 100, 1, b"", None))
    store.save_delivery(("a", "b"), StoredDelivery(id + 1, id, 1, False, (), None, False))
    store.write()
    store.commit()
    print(id, flush=True)
    if id % 100 == 1:
        store.checkpoint()
"""


@pytest.mark.parametrize("synchronous", ["off", "normal", "full", "extra"])
def test_kill_takes_nothing_committed(path: Path, synchronous: Synchronous) -> None:
    """A process killed while it writes and commits in a loop; what it told to be committed is there."""
    for line in (1, 250):
        path = path.with_name(f"{line}.db")
        command = [sys.executable, "-c", WRITER, str(path), synchronous]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            told = [process.stdout.readline() for _ in range(line)]
            process.kill()
            told += process.stdout.readlines()
        last = max(int(text) for text in told if text.endswith(b"\n"))
        store = Storage(path)
        stored = store.open()
        store.close()
        count = (last + 1) // 2
        assert count >= line
        assert len(stored.messages) in (count, count + 1)  # one more: committed and not yet told
        assert list(stored.messages) == [delivery.message for delivery in stored.sessions[0].deliveries]
        assert all(stored.messages[id].payload == str(id).encode() * 100 for id in range(1, last + 1, 2))


OPENER = """
import sys
from pathlib import Path
from hub.broker.storage import Storage, StorageError
try:
    Storage(Path(sys.argv[1])).open()
except StorageError as error:
    print(error)
"""


def test_a_second_hub_is_refused(store: Storage, path: Path) -> None:
    """Another process, another name of the same file, the same process; the first one works on."""
    alias = path.with_name("alias.db")
    alias.symlink_to(path)
    for name in (path, alias):
        done = subprocess.run([sys.executable, "-c", OPENER, str(name)], capture_output=True, text=True, check=True)
        assert "another hub uses it; stop that one" in done.stdout
        with pytest.raises(StorageError, match="another hub uses it"):
            Storage(name).open()
    fill(store)
    assert reopen(store) == FULL
    done = subprocess.run([sys.executable, "-c", OPENER, str(path)], capture_output=True, text=True, check=True)
    assert "another hub" in done.stdout  # the attempts in this process did not free the lock


def test_only_the_owner_may_read(store: Storage, path: Path) -> None:
    fill(store)
    keep(store)
    modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert modes == dict.fromkeys(("hub.db", "hub.db-shm", "hub.db-wal", "hub.db.lock"), 0o600)


def _refused(path: Path, match: str) -> None:
    """Opening fails, says which file and why, changes nothing in it, and leaves nothing open."""
    before = path.read_bytes()
    for _ in range(2):
        with pytest.raises(StorageError, match=match) as caught:
            Storage(path).open()
        assert str(caught.value).startswith(f"{path}: ")
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_bytes(b"This is the operator's diary, not a database. " * 200)
    _refused(path, "not a database; move the file away")


def test_another_programs_database_is_refused(path: Path) -> None:
    other = sqlite3.connect(path)
    other.executescript("CREATE TABLE songs (title TEXT); INSERT INTO songs VALUES ('a');")
    other.close()
    _refused(path, "another program's database")


def test_a_newer_format_is_refused(store: Storage, path: Path) -> None:
    store.close()
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version = 2")
    newer.close()
    _refused(path, "newer hub")


def test_a_damaged_file_is_refused(store: Storage, path: Path) -> None:
    """Its second half is noise."""
    store.save_session(KEY, 60, None, b"")
    for id in range(1, 2000, 2):
        store.save_message(id, message(payload=bytes(500)))
        store.save_delivery(KEY, delivery(id + 1, id))
    store.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xa5" * (size // 2))
    with pytest.raises(StorageError, match="malformed; the file is damaged"):
        Storage(path).open()


def test_a_missing_directory_is_told(path: Path) -> None:
    with pytest.raises(StorageError, match="No such file or directory; check that its directory exists"):
        Storage(path / "missing" / "hub.db").open()


def test_an_empty_file_becomes_a_database(path: Path) -> None:
    """As a crash right after its creation leaves it."""
    path.touch()
    store = Storage(path)
    assert store.open() == EMPTY
    store.close()
