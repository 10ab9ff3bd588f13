"""Rooms, sessions, nodes, commands and streams: pure machines, time turned by hand."""

import itertools

import pytest

from devices.messages import CommandReply, MemberRecord, RoomRecord, UserRecord
from hub.auth import Identity
from hub.commands import MAX_OPEN, MAX_OPEN_OF_PEER, STREAM_LIFETIME, Commands, Streams
from hub.nodes import NODE_TIMEOUT, Nodes
from hub.rooms import MAX_ROOMS_OF_PEER, Joined, Left, NoSuchRoom, PublishMember, PublishRoom, Rooms, TooMany
from hub.sessions import Kick, PublishUser, SessionMismatch, Sessions
from tests.fakes import FakeClock

HERE, THERE = "aaaaaaaa", "bbbbbbbb"


def make_rooms(clock: FakeClock | None = None, *, owns: bool = True) -> Rooms:
    ids = (f"room{number:04d}" for number in itertools.count())
    return Rooms(HERE, clock or FakeClock(), owns=lambda _: owns, new_id=lambda: next(ids))


class TestRooms:
    """Who is in which room."""

    def test_creator_is_a_member(self) -> None:
        rooms = make_rooms()
        room_id, effects = rooms.create("p1")
        assert rooms.members(room_id) == ["p1"]
        assert [type(effect) for effect in effects] == [PublishRoom, PublishMember, Joined]

    def test_join_order_and_once(self) -> None:
        """Members are listed in join order; joining again is no news."""
        rooms = make_rooms()
        room_id, _ = rooms.create("p2")
        assert Joined(room_id, "p1") in rooms.join(room_id, "p1")
        assert rooms.join(room_id, "p1") == []
        assert rooms.members(room_id) == ["p2", "p1"]

    def test_unknown_room(self) -> None:
        with pytest.raises(NoSuchRoom):
            make_rooms().join("nowhere0", "p1")

    def test_only_a_members_leave_is_announced(self) -> None:
        rooms = make_rooms()
        room_id, _ = rooms.create("p1")
        assert rooms.leave(room_id, "p2") == []
        assert rooms.leave("nowhere0", "p1") == []
        assert rooms.leave(room_id, "p1") == [PublishMember(room_id, "p1", None), Left(room_id, "p1")]
        assert rooms.exists(room_id)

    def test_leave_all(self) -> None:
        rooms = make_rooms()
        first, _ = rooms.create("p1")
        second, _ = rooms.create("p1")
        left = [effect.room_id for effect in rooms.leave_all("p1") if isinstance(effect, Left)]
        assert left == [first, second]
        assert not rooms.known_peer("p1")

    def test_share(self) -> None:
        rooms = make_rooms()
        room_id, _ = rooms.create("p1")
        assert not rooms.share("p1", "p2")
        rooms.join(room_id, "p2")
        assert rooms.share("p1", "p2")

    def test_empty_room_expires(self) -> None:
        """An empty room is kept for its time; a member, or one who comes back, keeps it longer."""
        clock = FakeClock()
        rooms = make_rooms(clock)
        empty, _ = rooms.create()
        kept, _ = rooms.create("p1")
        clock.forward(599)
        assert rooms.tick() == []
        clock.forward(2)
        assert rooms.tick() == [PublishRoom(empty, None)]
        assert (rooms.exists(empty), rooms.exists(kept)) == (False, True)

    def test_another_node_expires_its_own(self) -> None:
        clock = FakeClock()
        rooms = make_rooms(clock, owns=False)
        room_id, _ = rooms.create()
        clock.forward(1_000)
        assert rooms.tick() == []
        rooms.apply_room(room_id, None)
        assert not rooms.exists(room_id)

    def test_limit_of_one_peer(self) -> None:
        rooms = make_rooms()
        for _ in range(MAX_ROOMS_OF_PEER):
            rooms.create("p1")
        with pytest.raises(TooMany):
            rooms.create("p1")

    def test_replica(self) -> None:
        """Records of another node make its rooms and members known; echoes of own records change nothing."""
        rooms = make_rooms()
        rooms.apply_room("far00001", RoomRecord(nid=THERE, created_at=5))
        far = MemberRecord(nid=THERE, joined_at=1)
        assert rooms.apply_member("far00001", "q1", far) == [Joined("far00001", "q1")]
        assert rooms.apply_member("far00001", "q1", far) == []
        effects = rooms.join("far00001", "p1")
        for effect in effects:
            if isinstance(effect, PublishMember):
                assert rooms.apply_member("far00001", "p1", effect.record) == []
        assert rooms.apply_member("far00001", "p1", None) == []
        assert rooms.members("far00001") == ["q1", "p1"]
        assert rooms.own_members("far00001") == ["p1"]
        assert rooms.apply_member("far00001", "q1", None) == [Left("far00001", "q1")]

    def test_dead_node(self) -> None:
        rooms = make_rooms()
        room_id, _ = rooms.create("p1")
        rooms.apply_member(room_id, "q1", MemberRecord(nid=THERE, joined_at=9))
        assert rooms.drop_node(THERE) == [Left(room_id, "q1"), PublishMember(room_id, "q1", None)]
        assert rooms.members(room_id) == ["p1"]

    def test_member_record_before_the_rooms(self) -> None:
        rooms = make_rooms()
        assert rooms.apply_member("far00001", "q1", MemberRecord(nid=THERE)) == [Joined("far00001", "q1")]
        rooms.apply_room("far00001", RoomRecord(nid=THERE, created_at=5))
        assert rooms.created_at("far00001") == 5

    def test_total_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of rooms that nobody is in the one that was empty longest makes room; those that somebody is in stay."""
        monkeypatch.setattr("hub.rooms.MAX_ROOMS", 3)
        rooms = make_rooms()
        empty, _ = rooms.create()
        others = [rooms.create(peer)[0] for peer in ("p1", "p2")]
        newest, effects = rooms.create("p3")
        assert effects[0] == PublishRoom(empty, None)
        assert sorted(rooms.ids()) == sorted([*others, newest])
        with pytest.raises(TooMany):
            rooms.create("p4")
        rooms.leave(others[0], "p1")
        rooms.create("p4")
        assert not rooms.exists(others[0])

    def test_a_station_follows_its_owner(self) -> None:
        """A station on MQTT is held by the node that owns it: it is adopted, not dropped, when its node dies."""
        rooms = make_rooms()
        room_id, _ = rooms.create("p1")
        rooms.apply_member(room_id, "station:st-1", MemberRecord(nid=THERE, joined_at=9))
        assert rooms.drop_node(THERE) == []
        (effect,) = rooms.adopt()
        assert effect == PublishMember(room_id, "station:st-1", MemberRecord(nid=HERE, joined_at=9))
        assert "station:st-1" in rooms.own_members(room_id)
        others = make_rooms(owns=False)
        others.apply_member("far00001", "station:st-1", MemberRecord(nid=HERE, joined_at=9))
        assert others.adopt() == []

    def test_foreign(self) -> None:
        """What others wrote, and may have cleared while nobody here could hear it."""
        rooms = make_rooms()
        mine, _ = rooms.create("p1")
        rooms.apply_room("far00001", RoomRecord(nid=THERE))
        rooms.apply_member("far00001", "q1", MemberRecord(nid=THERE))
        rooms.apply_member(mine, "q1", MemberRecord(nid=THERE))
        assert set(rooms.foreign()) == {("far00001", None), ("far00001", "q1"), (mine, "q1")}
        assert rooms.nodes() == {HERE, THERE}

    def test_republish(self) -> None:
        """What a broker forgot is written again: own rooms and own members."""
        rooms = make_rooms()
        room_id, _ = rooms.create("p1")
        kinds = [type(effect) for effect in rooms.republish()]
        assert kinds == [PublishRoom, PublishMember]
        assert rooms.exists(room_id)

    def test_invites(self) -> None:
        rooms = make_rooms()
        room_id, _ = rooms.create("p1")
        rooms.invite("st-1", room_id)
        assert rooms.invited("st-1", room_id)
        assert not rooms.invited("st-2", room_id)
        assert not rooms.invited("st-1", "nowhere0")


def user(session: str, issued: float, kind: str = "registered") -> Identity:
    return Identity(user_id="u1", type=kind, role="viewer", session_id=session, issued_at=issued)


class TestSessions:
    """One valid session a user."""

    def test_first_is_recorded(self) -> None:
        sessions = Sessions()
        record = UserRecord(session_id="a", issued_at=1.0)
        assert sessions.admit(user("a", 1.0)) == [PublishUser("u1", record)]
        assert sessions.admit(user("a", 1.0)) == []

    def test_newer_replaces_and_kicks(self) -> None:
        sessions = Sessions()
        sessions.admit(user("a", 1.0))
        assert Kick("u1", "b") in sessions.admit(user("b", 2.0))
        with pytest.raises(SessionMismatch):
            sessions.admit(user("a", 1.0))

    def test_same_second(self) -> None:
        """Of two issued at once one is newer for all nodes alike, whichever comes first."""
        one, other = Sessions(), Sessions()
        one.admit(user("a", 1.0))
        one.admit(user("b", 1.0))
        other.admit(user("b", 1.0))
        with pytest.raises(SessionMismatch):
            other.admit(user("a", 1.0))
        with pytest.raises(SessionMismatch):
            one.admit(user("a", 1.0))

    def test_guests_have_no_record(self) -> None:
        sessions = Sessions()
        assert sessions.admit(user("a", 2.0, "guest")) == []
        assert sessions.admit(user("b", 1.0, "guest")) == []

    def test_record_of_another_node(self) -> None:
        sessions = Sessions()
        sessions.admit(user("a", 1.0))
        assert sessions.apply("u1", UserRecord(session_id="b", issued_at=2.0)) == [Kick("u1", "b")]
        newest = PublishUser("u1", UserRecord(session_id="b", issued_at=2.0))
        assert sessions.apply("u1", UserRecord(session_id="a", issued_at=1.0)) == [newest]
        assert sessions.apply("u1", newest.record) == []


class TestNodes:
    """Who is alive, who owns."""

    def test_alone(self) -> None:
        nodes = Nodes(HERE, FakeClock())
        assert nodes.owns("anything")
        assert nodes.alive == {HERE}

    def test_all_agree(self) -> None:
        """Two nodes come to the same owner for each station, and share the work."""
        here, there = Nodes(HERE, FakeClock()), Nodes(THERE, FakeClock())
        here.heard(THERE)
        there.heard(HERE)
        ids = [f"st-{number}" for number in range(200)]
        assert [here.owner(sid) for sid in ids] == [there.owner(sid) for sid in ids]
        assert 50 < sum(here.owns(sid) for sid in ids) < 150

    def test_silence(self) -> None:
        """A node that is not heard for too long is gone, though no will told of it."""
        clock = FakeClock()
        nodes = Nodes(HERE, clock)
        assert nodes.heard(THERE)
        assert not nodes.heard(THERE)
        clock.forward(NODE_TIMEOUT - 1)
        assert nodes.silent() == []
        clock.forward(2)
        assert nodes.silent() == [THERE]
        assert nodes.alive == {HERE}

    def test_cleared(self) -> None:
        nodes = Nodes(HERE, FakeClock())
        nodes.heard(THERE)
        assert nodes.gone(THERE)
        assert not nodes.gone(THERE)


class TestCommands:
    """Commands that wait for a reply."""

    def test_done(self) -> None:
        clock = FakeClock()
        commands = Commands(clock)
        commands.open("c1", "st-1", "p1", 5.0)
        for stage in ("received", "progress", "duplicate"):
            assert commands.reply("st-1", CommandReply.model_validate({"id": "c1", "stage": stage})) is None
        clock.forward(0.5)
        outcome = commands.reply("st-1", CommandReply(id="c1", stage="done", result={"open": True}))
        assert outcome is not None
        assert (outcome.stage, outcome.result, outcome.elapsed) == ("done", {"open": True}, 0.5)
        assert len(commands) == 0

    def test_only_the_station_asked_may_reply(self) -> None:
        commands = Commands(FakeClock())
        commands.open("c1", "st-1", "p1", 5.0)
        assert commands.reply("st-2", CommandReply(id="c1", stage="done")) is None
        assert commands.reply("st-1", CommandReply(id="c2", stage="done")) is None
        assert commands.stray_replies == 2
        assert len(commands) == 1

    @pytest.mark.parametrize("delivered", [True, False])
    def test_timeout_says_whether_delivered(self, delivered: bool) -> None:
        clock = FakeClock()
        commands = Commands(clock)
        commands.open("c1", "st-1", "p1", 5.0)
        if delivered:
            commands.reply("st-1", CommandReply(id="c1", stage="received"))
        clock.forward(4.9)
        assert commands.tick() == []
        clock.forward(0.2)
        (outcome,) = commands.tick()
        assert (outcome.stage, outcome.delivered) == ("timeout", delivered)

    def test_bound(self) -> None:
        commands = Commands(FakeClock())
        for number in range(MAX_OPEN):
            commands.open(str(number), "st-1", f"p{number // MAX_OPEN_OF_PEER}", 5.0)
        with pytest.raises(OverflowError):
            commands.open("more", "st-1", "somebody", 5.0)
        commands.cancel("0")
        commands.open("more", "st-1", "somebody", 5.0)

    def test_bound_of_one_peer(self) -> None:
        """One peer's commands leave room for the others'."""
        commands = Commands(FakeClock())
        for number in range(MAX_OPEN_OF_PEER):
            commands.open(str(number), "st-1", "p1", 5.0)
        with pytest.raises(OverflowError):
            commands.open("more", "st-1", "p1", 5.0)
        commands.open("other", "st-1", "p2", 5.0)
        commands.cancel("0")
        commands.open("again", "st-1", "p1", 5.0)


class TestStreams:
    """Stream requests that are open."""

    def test_open_drop_and_expire(self) -> None:
        clock = FakeClock()
        streams = Streams(clock)
        streams.open("p1", "st-1", "cam-1")
        streams.open("p1", "st-1", "cam-2")
        streams.open("p1", "st-1", "cam-1")
        assert streams.cameras("p1", "st-1") == ["cam-2", "cam-1"]
        assert streams.cameras("p1", "st-2") == []
        streams.drop("p1")
        assert streams.cameras("p1", "st-1") == []
        streams.open("p2", "st-1", "cam-1")
        clock.forward(STREAM_LIFETIME + 1)
        streams.tick()
        assert streams.cameras("p2", "st-1") == []
