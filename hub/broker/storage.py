"""Durable sessions and retained messages, in one SQLite file.

Whoever changes a session notes it here (`save_...`, `delete_...`): a dictionary store, no SQL. Every few milliseconds the shell
calls `write` and `commit`; what a PUBACK, PUBREC or PUBCOMP promises must be in a commit before it leaves. All notes can be
repeated without harm, so those of a failed commit are simply written again.

What survives, by the `synchronous` setting. Killing the process (`kill -9`) takes nothing committed in any of them.

| setting  | a power loss, or a crash of the system, may take                                                         |
|----------|----------------------------------------------------------------------------------------------------------|
| `off`    | anything the system had not yet written to the disk; the file may be damaged beyond repair               |
| `normal` | the newest commits, at most those since the last checkpoint; the file stays whole                        |
| `full`   | nothing committed (each commit waits for the disk)                                                       |
| `extra`  | nothing committed; with the write-ahead log used here it is the same as `full`                           |

Threads: notes, `write` and `close` belong to one thread. `commit` may run in another, and notes may be taken meanwhile, but no
`write`. `checkpoint` may run in another at any time between `open` and `close`.
"""

import os
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, NamedTuple

__all__ = [
    "Key",
    "Storage",
    "StorageError",
    "Stored",
    "StoredDelivery",
    "StoredMessage",
    "StoredSession",
    "StoredSubscription",
    "Synchronous",
]

Key = tuple[str, str]
"""Whose session: the owner's identity key, the client id."""
Synchronous = Literal["off", "normal", "full", "extra"]

_APPLICATION: Final = 0x53744862  # "StHb", so that another program's database is told from ours
_VERSION: Final = 1
_WAL_LIMIT: Final = 16_000
"""Pages of 4 KB: a longer write-ahead log is started anew, under any load."""
# Messages and deliveries only grow at their end and shrink at their start, which writes the fewest pages. No index on
# deliveries.session: it would write four times as many for a growing queue, to save 26 ms per million rows at a session's end.
_SCHEMA: Final = f"""
BEGIN IMMEDIATE;
CREATE TABLE sessions (number INTEGER PRIMARY KEY, owner TEXT NOT NULL, client TEXT NOT NULL, expiry REAL NOT NULL,
    ended REAL, attributes BLOB NOT NULL);
CREATE TABLE subscriptions (session INTEGER NOT NULL, topic_filter TEXT NOT NULL, options INTEGER NOT NULL,
    identifier INTEGER, PRIMARY KEY (session, topic_filter)) WITHOUT ROWID;
CREATE TABLE incoming (session INTEGER NOT NULL, packet_id INTEGER NOT NULL, PRIMARY KEY (session, packet_id)) WITHOUT ROWID;
CREATE TABLE messages (id INTEGER PRIMARY KEY, topic TEXT NOT NULL, payload BLOB NOT NULL, qos INTEGER NOT NULL,
    properties BLOB NOT NULL, expires REAL);
CREATE TABLE deliveries (session INTEGER NOT NULL, id INTEGER PRIMARY KEY, message INTEGER NOT NULL, qos INTEGER NOT NULL,
    retain INTEGER NOT NULL, identifiers TEXT, packet_id INTEGER, released INTEGER NOT NULL);
CREATE TABLE retained (topic TEXT PRIMARY KEY, payload BLOB NOT NULL, qos INTEGER NOT NULL, properties BLOB NOT NULL,
    expires REAL);
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {_VERSION};
COMMIT;
"""
_ORPHANS: Final = (
    "DELETE FROM subscriptions WHERE session NOT IN (SELECT number FROM sessions)",
    "DELETE FROM incoming WHERE session NOT IN (SELECT number FROM sessions)",
    "DELETE FROM deliveries WHERE session NOT IN (SELECT number FROM sessions) OR message NOT IN (SELECT id FROM messages)",
    "DELETE FROM messages WHERE id NOT IN (SELECT message FROM deliveries)",
)
# for each table its name, and its SQL to delete and to save a row
_SQL: Final = (
    (
        "sessions",
        "DELETE FROM sessions WHERE number = ?",
        "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (number) DO UPDATE"
        " SET expiry = excluded.expiry, ended = excluded.ended, attributes = excluded.attributes",
    ),
    (
        "subscriptions",
        "DELETE FROM subscriptions WHERE session = ? AND topic_filter = ?",
        "REPLACE INTO subscriptions VALUES (?, ?, ?, ?)",
    ),
    ("incoming", "DELETE FROM incoming WHERE session = ? AND packet_id = ?", "REPLACE INTO incoming VALUES (?, ?)"),
    ("deliveries", "DELETE FROM deliveries WHERE id = ?", "REPLACE INTO deliveries VALUES (?, ?, ?, ?, ?, ?, ?, ?)"),
    ("messages", "DELETE FROM messages WHERE id = ?", "REPLACE INTO messages VALUES (?, ?, ?, ?, ?, ?)"),
    (
        "retained",
        "DELETE FROM retained WHERE topic = ?",
        "INSERT INTO retained VALUES (?, ?, ?, ?, ?) ON CONFLICT (topic) DO UPDATE"
        " SET payload = excluded.payload, qos = excluded.qos, properties = excluded.properties, expires = excluded.expires",
    ),
)
_REMEDIES: Final = {
    sqlite3.SQLITE_BUSY: "another program holds it, stop that one",
    sqlite3.SQLITE_CANTOPEN: "check that its directory exists and can be written",
    sqlite3.SQLITE_CORRUPT: "the file is damaged, move it away or restore a copy",
    sqlite3.SQLITE_FULL: "free space on its disk",
    sqlite3.SQLITE_IOERR: "check its disk, and the space on it",
    sqlite3.SQLITE_NOTADB: "move the file away, or name another",
    sqlite3.SQLITE_PERM: "check the file's permissions",
    sqlite3.SQLITE_READONLY: "check the permissions of the file and its directory",
}
_Value = str | bytes | int | float | None
_Row = tuple[_Value, ...]


class StorageError(Exception):
    """The file cannot be opened, read or written."""

    def __init__(self, path: Path, reason: str, remedy: str) -> None:
        super().__init__(path, reason, remedy)
        self.path, self.reason, self.remedy = path, reason, remedy

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}; {self.remedy}"


class StoredMessage(NamedTuple):
    """`properties`: the encoded MQTT 5 ones; `expires`: seconds since 1970."""

    topic: str
    payload: bytes
    qos: int
    properties: bytes
    expires: float | None


class StoredSubscription(NamedTuple):
    """`options`: the MQTT 5 options byte; `identifier`: the Subscription Identifier."""

    topic_filter: str
    options: int
    identifier: int | None


class StoredDelivery(NamedTuple):
    """One message on its way to one session; `released`: PUBREC came, PUBREL is due. Deliveries are ordered by `id`."""

    id: int
    message: int
    qos: int
    retain: bool
    identifiers: tuple[int, ...]
    packet_id: int | None
    released: bool


@dataclass(slots=True)
class StoredSession:
    """One session.

    Attributes:
        expiry: seconds it outlives its connection; may be infinite.
        ended: when the connection ended, seconds since 1970; None: it was connected.
        attributes: not looked into.
        incoming: packet ids of QoS 2 messages received and not yet released.
    """

    key: Key
    expiry: float
    ended: float | None
    attributes: bytes
    subscriptions: list[StoredSubscription] = field(default_factory=list)
    deliveries: list[StoredDelivery] = field(default_factory=list)
    incoming: set[int] = field(default_factory=set)


class Stored(NamedTuple):
    """All that a file holds; `last_id`: the greatest id of any delivery or message, 0 without one."""

    sessions: list[StoredSession]
    retained: dict[str, StoredMessage]
    messages: dict[int, StoredMessage]
    last_id: int


class _Table:
    """The notes on one table: whole rows to save and primary keys to delete. Deletes are written first."""

    __slots__ = ("deleted", "saved")

    def __init__(self) -> None:
        self.saved: dict[_Row, _Row] = {}
        self.deleted: set[_Row] = set()

    def delete(self, key: _Row) -> None:
        self.saved.pop(key, None)
        self.deleted.add(key)  # of a row that is not there: writes nothing


class _Notes:
    """What one transaction writes."""

    __slots__ = ("dead", "deliveries", "incoming", "messages", "retained", "sessions", "subscriptions")

    def __init__(self) -> None:
        self.dead: set[int] = set()
        """Numbers of deleted sessions; a number is never used again, so their place among the other notes does not matter."""
        self.sessions, self.subscriptions, self.incoming = _Table(), _Table(), _Table()
        self.deliveries, self.messages, self.retained = _Table(), _Table(), _Table()

    def tables(self) -> tuple[_Table, ...]:
        """In the order of `_SQL`."""
        return self.sessions, self.subscriptions, self.incoming, self.deliveries, self.messages, self.retained

    def empty(self) -> bool:
        """Whether nothing is noted."""
        return not any(table.saved or table.deleted for table in self.tables())

    def add(self, later: "_Notes") -> None:
        """Adds notes taken after these."""
        self.dead |= later.dead
        for mine, new in zip(self.tables(), later.tables(), strict=True):
            for key in new.deleted:
                mine.saved.pop(key, None)
            mine.deleted |= new.deleted
            mine.saved.update(new.saved)

    def run(self, db: sqlite3.Connection) -> None:
        """Runs their SQL inside the open transaction. Raises sqlite3.Error."""
        if gone := list(self.sessions.deleted):
            db.executemany("DELETE FROM subscriptions WHERE session = ?", gone)
            db.executemany("DELETE FROM incoming WHERE session = ?", gone)
        # one look through the table for many sessions; SQLite limits the parameters of a statement
        for first in range(0, len(gone), 500):
            numbers = [number for (number,) in gone[first : first + 500]]
            db.execute(f"DELETE FROM deliveries WHERE session IN ({', '.join('?' * len(numbers))})", numbers)
        for table, (name, delete, save) in zip(self.tables(), _SQL, strict=True):
            if table.deleted:
                db.executemany(delete, table.deleted)
            if self.dead and name not in ("messages", "retained"):  # the rows of the others begin with their session
                db.executemany(save, [row for row in table.saved.values() if row[0] not in self.dead])
            elif table.saved:
                db.executemany(save, table.saved.values())


class Storage:
    """The file at `path`, which `open` creates; one process at a time may have it open."""

    def __init__(self, path: Path, *, synchronous: Synchronous = "normal") -> None:
        self.dirty = False
        """True while notes wait for a commit. Plain attribute: it is read in the hot path."""
        self._path, self.synchronous = path, synchronous
        self._db: sqlite3.Connection | None = None
        self._checkpointer: sqlite3.Connection | None = None
        self._lock: sqlite3.Connection | None = None
        self._forget()

    def _forget(self) -> None:
        """The state of a storage just made."""
        self.dirty = False
        self._numbers: dict[Key, int] = {}
        self._noted = _Notes()
        self._held: _Notes | None = None  # written and not yet committed, or given back by a commit that failed
        self._failed = False  # what is held must be written again
        # the greatest session number and id in use, and the greatest that may be in the file
        self._last_number = self._written_number = 0
        self._last_id = self._written_id = 0
        self._overgrown = False  # the write-ahead log is too long

    def open(self) -> Stored:
        """Creates the file where there is none (readable by its owner only), and reads it.

        Raises:
            StorageError: it is no database of a hub, is damaged, was written by a newer hub, is in use, or cannot be read or
                written. Nothing stays open then.
        """
        if self._db is not None:
            raise RuntimeError("the storage is open")
        try:
            self._take_lock()
            _create(self._path)
            self._db = self._connect(self._path)
            self._prepare(self._db)
            self._checkpointer = self._connect(self._path)
            return self._load(self._db)
        except (OSError, sqlite3.Error, StorageError) as error:
            self._disconnect()
            raise self._error(error) from error

    def save_session(self, key: Key, expiry: float, ended: float | None, attributes: bytes) -> None:
        """Notes a session and its present state; see `StoredSession`."""
        number = self._numbers.get(key) or self._number(key)
        self._noted.sessions.saved[(number,)] = (number, *key, expiry, ended, attributes)
        self.dirty = True

    def delete_session(self, key: Key) -> None:
        """Notes that a session is gone, with its subscriptions, deliveries and incoming packet ids; not its messages."""
        if number := self._numbers.pop(key, None):
            self._noted.dead.add(number)
            if number <= self._written_number:
                self._noted.sessions.deleted.add((number,))
            self.dirty = True

    def save_subscription(self, key: Key, subscription: StoredSubscription) -> None:
        """Notes a subscription, new or changed."""
        number = self._numbers.get(key) or self._number(key)
        self._noted.subscriptions.saved[(number, subscription[0])] = (number, *subscription)
        self.dirty = True

    def delete_subscription(self, key: Key, topic_filter: str) -> None:
        """Notes that a subscription is gone."""
        if number := self._numbers.get(key):
            self._noted.subscriptions.delete((number, topic_filter))
            self.dirty = True

    def save_message(self, id: int, message: StoredMessage) -> None:
        """Notes a message that deliveries refer to by `id`, greater than 0."""
        self._noted.messages.saved[(id,)] = (id, *message)
        if id > self._last_id:
            self._last_id = id
        self.dirty = True

    def delete_message(self, id: int) -> None:
        """Notes that no delivery needs a message any more."""
        self._noted.messages.saved.pop((id,), None)
        if id <= self._written_id:
            self._noted.messages.deleted.add((id,))
            self.dirty = True

    def save_delivery(self, key: Key, delivery: StoredDelivery) -> None:
        """Notes a delivery, new or changed."""
        id, message, qos, retain, identifiers, packet_id, released = delivery
        number = self._numbers.get(key) or self._number(key)
        text = " ".join(map(str, identifiers)) if identifiers else None
        self._noted.deliveries.saved[(id,)] = (number, id, message, qos, retain, text, packet_id, released)
        if id > self._last_id:
            self._last_id = id
        self.dirty = True

    def delete_delivery(self, key: Key, id: int) -> None:
        """Notes that a delivery is done."""
        self._noted.deliveries.saved.pop((id,), None)
        if id <= self._written_id:
            self._noted.deliveries.deleted.add((id,))
            self.dirty = True

    def save_incoming(self, key: Key, packet_id: int) -> None:
        """Notes the packet id of a QoS 2 message received."""
        number = self._numbers.get(key) or self._number(key)
        row = (number, packet_id)
        self._noted.incoming.saved[row] = row
        self.dirty = True

    def delete_incoming(self, key: Key, packet_id: int) -> None:
        """Notes that a QoS 2 message was released."""
        if number := self._numbers.get(key):
            self._noted.incoming.delete((number, packet_id))
            self.dirty = True

    def save_retained(self, message: StoredMessage) -> None:
        """Notes the retained message of its topic."""
        self._noted.retained.saved[(message[0],)] = message
        self.dirty = True

    def delete_retained(self, topic: str) -> None:
        """Notes that a topic has no retained message any more."""
        self._noted.retained.delete((topic,))
        self.dirty = True

    def write(self) -> None:
        """Runs the SQL of all notes in one transaction, which `commit` ends. New notes go into the next one.

        Raises:
            StorageError: nothing of the transaction was written; its notes are kept for the next `write`.
        """
        db = self._open_db()
        notes, self._noted = self._noted, _Notes()
        self._written_number, self._written_id = self._last_number, self._last_id
        self.dirty = False
        todo = notes
        if self._held is None:
            self._held = notes
        else:
            self._held.add(notes)
            todo = self._held if self._failed else notes
        try:
            if not todo.empty():
                if not db.in_transaction:
                    self._restart_log(db)
                    db.execute("BEGIN IMMEDIATE")
                todo.run(db)
        except Exception as error:
            self._give_back(db)
            if isinstance(error, sqlite3.Error):
                raise self._error(error) from error
            raise
        self._failed = False

    def commit(self) -> None:
        """Ends the transaction of `write`. May wait for the disk, without the interpreter's lock.

        Raises:
            StorageError: nothing of the transaction is kept in the file; its notes are kept for the next `write`.
        """
        db = self._open_db()
        if self._failed:
            raise StorageError(self._path, "the notes are not written", "write them again")
        try:
            if db.in_transaction:
                db.execute("COMMIT")
        except sqlite3.Error as error:
            self._give_back(db)
            raise self._error(error) from error
        self._held = None

    def checkpoint(self) -> None:
        """Copies the write-ahead log into the database, as far as it can without making a writer wait. Raises StorageError."""
        if self._checkpointer is None:
            raise StorageError(self._path, "is not open", "open it first")
        try:
            _, frames, _ = self._checkpointer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:
            raise self._error(error) from error
        self._overgrown = frames > _WAL_LIMIT

    def close(self) -> None:
        """Writes and commits what is noted, empties the write-ahead log and closes the file; once closed, does nothing.

        Raises:
            StorageError: the newest notes could not be written, and are lost. The file is closed all the same.
        """
        if self._db is None:
            return
        try:
            self.write()
            self.commit()
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error as error:
            raise self._error(error) from error
        finally:
            self._disconnect()

    def _number(self, key: Key) -> int:
        """A new small number for a session: rows are shorter with it, and a later session of the same key has another."""
        self._last_number += 1
        self._numbers[key] = self._last_number
        return self._last_number

    def _restart_log(self, db: sqlite3.Connection) -> None:
        """Copies what the last checkpoint left of a long write-ahead log, so that the next transaction starts it anew.

        SQLite starts it anew only when a writer finds all of it copied. Under load that never happens by itself: while a
        checkpoint runs elsewhere, new commits arrive.
        """
        if self._overgrown:
            busy, *_ = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            self._overgrown = bool(busy)  # a checkpoint is running: the next write tries again

    def _give_back(self, db: sqlite3.Connection) -> None:
        """Rolls back; the notes of the transaction wait for the next `write`."""
        self._failed = self.dirty = True
        try:
            if db.in_transaction:
                db.execute("ROLLBACK")
        except sqlite3.Error:
            pass  # the error that brought us here is told, and the next write fails if this one lasts

    def _open_db(self) -> sqlite3.Connection:
        if self._db is None:
            raise StorageError(self._path, "is not open", "open it first")
        return self._db

    def _take_lock(self) -> None:
        """Holds a lock on a file beside the database as long as it is open; the system frees it when the process ends.

        The database itself cannot be locked against others, because the checkpoints have a connection of their own.
        """
        # the same file by another name must meet the same lock
        path = self._path.resolve()
        path = path.with_name(path.name + ".lock")
        _create(path)
        self._lock = self._connect(path)
        try:
            self._lock.execute("PRAGMA journal_mode = MEMORY")  # no journal file
            self._lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            raise StorageError(self._path, "another hub uses it", "stop that one, or name another file") from error

    def _connect(self, path: Path) -> sqlite3.Connection:
        # nothing of ours ever holds the write lock for long, so waiting for it would only hide another program
        return sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)

    def _prepare(self, db: sqlite3.Connection) -> None:
        """Refuses what is not ours before anything in it is changed, then makes it ready."""
        (application,), (version,) = (
            db.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version")
        )
        (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if application != _APPLICATION and (application or version or tables):
            raise StorageError(self._path, "is another program's database", "move it away, or name another file")
        if version > _VERSION:
            reason = f"was written by a newer hub (format {version}, this one knows {_VERSION})"
            raise StorageError(self._path, reason, "run that version, or name another file")
        (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise StorageError(self._path, "its file system cannot share memory", "put it on a local disk")
        db.execute("PRAGMA wal_autocheckpoint = 0")
        db.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT * 4096}")
        db.execute(f"PRAGMA synchronous = {self.synchronous}")
        db.execute("PRAGMA secure_delete = OFF")  # some systems build SQLite with it on
        if not tables:
            db.executescript(_SCHEMA)

    def _load(self, db: sqlite3.Connection) -> Stored:
        db.execute("BEGIN IMMEDIATE")
        for statement in _ORPHANS:
            db.execute(statement)
        db.execute("COMMIT")
        sessions: dict[int, StoredSession] = {}
        for number, owner, client, expiry, ended, attributes in db.execute("SELECT * FROM sessions ORDER BY number"):
            sessions[number] = StoredSession((owner, client), expiry, ended, attributes)
            self._numbers[owner, client] = number
        for number, *row in db.execute("SELECT * FROM subscriptions"):
            sessions[number].subscriptions.append(StoredSubscription._make(row))
        for number, packet_id in db.execute("SELECT * FROM incoming"):
            sessions[number].incoming.add(packet_id)
        for number, id, message, qos, retain, text, packet_id, released in db.execute(
            "SELECT * FROM deliveries ORDER BY id"
        ):
            identifiers = tuple(map(int, text.split())) if text else ()
            delivery = StoredDelivery(id, message, qos, bool(retain), identifiers, packet_id, bool(released))
            sessions[number].deliveries.append(delivery)
        messages = {row[0]: StoredMessage._make(row[1:]) for row in db.execute("SELECT * FROM messages ORDER BY id")}
        retained = {row[0]: StoredMessage._make(row) for row in db.execute("SELECT * FROM retained")}
        (last_id,) = db.execute(
            "SELECT max(ifnull((SELECT max(id) FROM deliveries), 0), ifnull((SELECT max(id) FROM messages), 0))"
        ).fetchone()
        self._last_id = self._written_id = last_id
        self._last_number = self._written_number = max(sessions, default=0)
        return Stored(list(sessions.values()), retained, messages, last_id)

    def _disconnect(self) -> None:
        for connection in (self._checkpointer, self._db, self._lock):
            if connection is not None:
                connection.close()
        self._db = self._checkpointer = self._lock = None
        self._forget()

    def _error(self, error: Exception) -> StorageError:
        if isinstance(error, StorageError):
            return error
        if isinstance(error, OSError):
            remedy = "check that its directory exists and can be written"
            return StorageError(self._path, error.strerror or type(error).__name__, remedy)
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest is detail
        return StorageError(self._path, str(error), _REMEDIES.get(code, "check the file and its disk"))


def _create(path: Path) -> None:
    """Creates an empty file for its owner only; never opens one that exists, as closing it would free SQLite's locks on it."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        pass
