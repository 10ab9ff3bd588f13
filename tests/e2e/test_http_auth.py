"""`/auth` over a whole hub: guests, accounts, device keys; what a token says, how it goes on, and how it ends."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import jwt
import pytest

from bridge.http.accounts import TAKEN, WRONG
from devices.operator import Operator
from hub.auth import DAY
from tests.e2e.conftest import SECRET, World
from tests.e2e.waiting import within

pytestmark = pytest.mark.parametrize("world", ["embedded"], indirect=True)

ANN = {"email": "ann@x.org", "password": "open sesame", "nickname": "Ann"}
LOGIN = {"email": "ann@x.org", "password": "open sesame"}
UNAUTHORIZED = {"message": "Unauthorized", "error": "Unauthorized", "statusCode": 401}


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=world.hub.http_url, trust_env=False) as client:
        yield client


def bearing(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def claims(token: str) -> dict[str, Any]:
    decoded: dict[str, Any] = jwt.decode(token, SECRET, algorithms=["HS256"], options={"verify_iat": False})
    return decoded


async def post(http: httpx.AsyncClient, path: str, body: Any = None, *, token: str | None = None) -> Any:
    """The answer of a request that succeeds."""
    answer = await http.post(path, json=body, headers=bearing(token) if token else {})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def registered(http: httpx.AsyncClient) -> str:
    """Ann's token."""
    return str((await post(http, "/auth/register", ANN))["accessToken"])


async def refused(http: httpx.AsyncClient, token: str) -> None:
    """The token is no good any more."""
    answer = await http.get("/auth/profile", headers=bearing(token))
    assert (answer.status_code, answer.json()) == (401, UNAUTHORIZED)


async def told(operator: Operator) -> list[tuple[str, Any]]:
    """What came until the hub closed the connection, within the second that it has."""
    async with within(1.0):
        return [push async for push in operator.pushes()]


# ---- accounts


async def test_register(http: httpx.AsyncClient) -> None:
    """The exact shape, and a token of 24 hours that works."""
    body = await post(http, "/auth/register", ANN | {"email": "Ann@X.org", "role": "admin", "unknown": 1})
    user = {"id": body["user"]["id"], "email": "ann@x.org", "nickname": "Ann", "type": "registered"}
    assert body == {"accessToken": body["accessToken"], "user": user}
    said = claims(body["accessToken"])
    assert (said["userId"], said["type"], said["nickname"], said["role"]) == (user["id"], "registered", "Ann", "viewer")
    assert said["exp"] - said["iat"] == pytest.approx(DAY, abs=1.5)
    profile = await http.get("/auth/profile", headers=bearing(body["accessToken"]))
    assert (profile.status_code, profile.json()) == (200, said)


async def test_registered_already(http: httpx.AsyncClient) -> None:
    await registered(http)
    answer = await http.post("/auth/register", json=ANN)
    assert (answer.status_code, answer.json()) == (401, UNAUTHORIZED | {"message": TAKEN})
    assert TAKEN == "该用户已注册，请前往登录"


async def test_login(world: World, http: httpx.AsyncClient) -> None:
    """The same shape; the older session is kicked on every door."""
    old = await post(http, "/auth/register", ANN)
    browser = await world.operator(token=old["accessToken"])
    new = await post(http, "/auth/login", LOGIN | {"email": "ANN@x.org"})
    assert new == old | {"accessToken": new["accessToken"]}
    assert (await told(browser))[-1] == ("kicked", {"reason": "NEW_LOGIN"})
    await refused(http, old["accessToken"])
    assert (await http.get("/auth/profile", headers=bearing(new["accessToken"]))).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        LOGIN | {"password": "wrong"},
        LOGIN | {"password": ""},
        LOGIN | {"email": "bob@x.org"},
        LOGIN | {"email": ""},
        LOGIN | {"email": "\x00"},
        LOGIN | {"password": "x" * 100_000},
    ],
)
async def test_wrong_login(http: httpx.AsyncClient, body: Any) -> None:
    await registered(http)
    answer = await http.post("/auth/login", json=body)
    assert (answer.status_code, answer.json()) == (401, UNAUTHORIZED | {"message": WRONG})
    assert WRONG == "该用户不存在或密码错误"


@pytest.mark.parametrize("path", ["/auth/register", "/auth/login", "/auth/station", "/auth/guest"])
@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"7",
        b"{",
        b"\xff",
        b'{"email":null,"password":null,"nickname":7,"stationId":[],"key":{}}',
        b'{"email":{"$ne":""},"password":{"$ne":""},"nickname":["a"],"stationId":"a/b","key":""}',
    ],
)
async def test_malformed(http: httpx.AsyncClient, path: str, body: bytes) -> None:
    answer = await http.post(path, content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"]) == (400, "Bad Request")
    assert all(isinstance(text, str) for text in answer.json()["message"])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("email", "ann"),
        ("email", "a@b\n"),
        ("email", "a@" + "x" * 253),
        ("email", "İ" * 200 + "@x"),
        ("password", "short"),
        ("password", "x" * 257),
        ("nickname", ""),
        ("nickname", "x" * 65),
        ("nickname", "a\x00b"),
    ],
)
async def test_what_cannot_be_registered(http: httpx.AsyncClient, field: str, value: str) -> None:
    answer = await http.post("/auth/register", json=ANN | {field: value})
    assert answer.status_code == 400
    (text,) = answer.json()["message"]
    assert text.startswith(f"{field}: ")
    assert value not in text or not value


async def test_half_a_surrogate_pair(http: httpx.AsyncClient) -> None:
    """JSON can say it, no database can keep it."""
    for path, body in (
        ("/auth/register", b'{"email":"a@\\ud800","password":"open sesame","nickname":"x"}'),
        ("/auth/register", b'{"email":"a@b","password":"open sesame","nickname":"\\ud800"}'),
        ("/auth/login", b'{"email":"a@\\ud800","password":"\\udfff"}'),
        ("/auth/guest", b'{"nickname":"\\ud800"}'),
        ("/auth/station", b'{"stationId":"st-1","key":"\\ud800"}'),
    ):
        answer = await http.post(path, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400, path


async def test_a_password_of_any_letters(http: httpx.AsyncClient) -> None:
    body = b'{"email":"a@b","password":"\\u0000\\u202e \\ud83d\\ude00\\r\\nxxxx","nickname":"x"}'
    headers = {"Content-Type": "application/json"}
    assert (await http.post("/auth/register", content=body, headers=headers)).status_code == 201
    assert (await http.post("/auth/login", content=body, headers=headers)).status_code == 201


# ---- guests, and what is offered


async def test_guest(http: httpx.AsyncClient) -> None:
    body = await post(http, "/auth/guest", {"nickname": "Bob"})
    assert body["user"] == {"id": body["user"]["id"], "type": "guest", "nickname": "Bob"}
    said = claims(body["accessToken"])
    assert (said["type"], said["role"], said["userId"]) == ("guest", "viewer", body["user"]["id"])
    assert (await post(http, "/auth/guest"))["user"]["nickname"].startswith("Guest ")


@pytest.mark.parametrize("options", [{"guests": False, "registration": False}])
async def test_not_offered(http: httpx.AsyncClient) -> None:
    for path, body in (("/auth/guest", {}), ("/auth/register", ANN)):
        answer = await http.post(path, json=body)
        assert (answer.status_code, answer.json()["error"]) == (403, "Forbidden")


@pytest.mark.parametrize("options", [{"open_registration": True}])
async def test_open_registration(world: World, http: httpx.AsyncClient) -> None:
    """Guests and accounts are operators, by the hub's word and not the token's; who was raised keeps that."""
    for path in ("/auth/guest", "/auth/register"):
        token = (await post(http, path, ANN))["accessToken"]
        assert "role" not in claims(token)
        browser = await world.operator(token=token)
        assert world.hub.gateway.peers[browser.peer_id].identity.role == "operator"
    made = await world.hub.accounts.first_admin()
    assert made is not None
    assert claims((await post(http, "/auth/login", made._asdict()))["accessToken"])["role"] == "admin"


# ---- what a token says


async def test_diagnostics(world: World, http: httpx.AsyncClient) -> None:
    token = world.hub.tokens.mint_user("u1", nickname="Ann")
    answer = await http.get("/auth/diagnostics", headers=bearing(token))
    assert (answer.status_code, answer.json()) == (200, {"ok": True, "payload": claims(token)})
    for headers in ({}, {"Authorization": ""}, {"Authorization": "Bearer"}):
        answer = await http.get("/auth/diagnostics", headers=headers)
        assert (answer.status_code, answer.json()) == (401, UNAUTHORIZED | {"message": "Missing Bearer token"})
    answer = await http.get("/auth/diagnostics", headers=bearing("garbage"))
    assert (answer.status_code, answer.json()) == (401, UNAUTHORIZED)


async def test_odd_claims(http: httpx.AsyncClient) -> None:
    """Whatever somebody else's token says, it is told, or what of it can be told."""
    odd = {"deep": [[[{"a": None}]]], "big": 10**30, "float": 1e308, "text": "\x00密", "userName": {"x": []}}
    token = jwt.encode({"userId": 7, "sessionId": "s", "exp": 4_000_000_000} | odd, SECRET)
    assert (await http.get("/auth/profile", headers=bearing(token))).json() == claims(token)
    for worse in ({"nan": float("nan")}, {"half": "\ud800"}, {"infinite": [float("-inf")]}):
        token = jwt.encode({"userId": 7, "sessionId": "s", "exp": 4_000_000_000} | worse, SECRET)
        for path in ("/auth/profile", "/auth/diagnostics"):
            assert (await http.get(path, headers=bearing(token))).status_code == 200


# ---- how a session goes on


async def test_refresh(world: World, http: httpx.AsyncClient) -> None:
    """The same session, which both tokens belong to; the later one ends later."""
    old = await registered(http)
    browser = await world.operator(token=old)
    new = (await post(http, "/auth/refresh", token=old))["accessToken"]
    assert claims(new) == claims(old) | {"exp": claims(new)["exp"]}
    for token in (old, new):
        assert (await http.get("/auth/profile", headers=bearing(token))).status_code == 200
    assert (await browser.request("ping"))["pong"] is True
    late = world.hub.tokens.mint_user(
        claims(old)["userId"], lifetime=5, session_id=claims(old)["sessionId"], issued_at=claims(old)["iat"]
    )
    assert claims((await post(http, "/auth/refresh", token=late))["accessToken"])["exp"] >= claims(old)["exp"]


async def test_refresh_has_what_the_account_has_now(world: World, http: httpx.AsyncClient) -> None:
    token = await registered(http)
    await world.hub.accounts.change(claims(token)["userId"], role="operator", nickname="Anna")
    said = claims((await post(http, "/auth/refresh", token=token))["accessToken"])
    assert (said["role"], said["nickname"]) == ("operator", "Anna")


async def test_refresh_a_guest(http: httpx.AsyncClient) -> None:
    old = (await post(http, "/auth/guest", {"nickname": "Bob"}))["accessToken"]
    new = (await post(http, "/auth/refresh", token=old))["accessToken"]
    assert claims(new) == claims(old) | {"exp": claims(new)["exp"]}


async def test_refresh_after_the_end(world: World, http: httpx.AsyncClient) -> None:
    """A token refreshed before is of the session that ended, however late it was made."""
    old = await registered(http)
    new = (await post(http, "/auth/refresh", token=old))["accessToken"]
    await world.hub.authenticator.end_sessions(claims(old)["userId"])
    for token in (old, new):
        await refused(http, token)
        assert (await http.post("/auth/refresh", headers=bearing(token))).status_code == 401


async def test_who_cannot_refresh(world: World, http: httpx.AsyncClient) -> None:
    """Who has no account here, is no guest of this hub's; what a guest's token claims is not believed twice."""
    tokens = world.hub.tokens
    for token in (
        tokens.mint_user("u1", role="admin"),
        tokens.mint_user("guest", type="guest"),
        tokens.mint_station("st-1"),
        tokens.mint_user("svc", role="service"),
    ):
        answer = await http.post("/auth/refresh", headers=bearing(token))
        assert (answer.status_code, answer.json()["error"]) == (403, "Forbidden")
    posing = tokens.mint_user("guest-1", type="guest", role="admin")
    assert claims((await post(http, "/auth/refresh", token=posing))["accessToken"])["role"] == "viewer"


# ---- another password, and the end


async def test_password(world: World, http: httpx.AsyncClient) -> None:
    """Other sessions end; the answer's token goes on; it is noted, without either password."""
    old = await registered(http)
    browser = await world.operator(token=old)
    body = await post(http, "/auth/password", {"oldPassword": "open sesame", "newPassword": "open simsim"}, token=old)
    assert body["user"]["email"] == "ann@x.org"
    assert (await told(browser))[-1][0] == "kicked"
    await refused(http, old)
    assert (await http.get("/auth/profile", headers=bearing(body["accessToken"]))).status_code == 200
    assert (await http.post("/auth/login", json=LOGIN)).status_code == 401
    await post(http, "/auth/login", LOGIN | {"password": "open simsim"})
    admin = world.hub.tokens.mint_user("root", role="admin")
    audit = await http.get("/audit", headers=bearing(admin))
    assert audit.json()["items"][0]["action"] == "user.password"
    assert audit.json()["items"][0]["target"] == body["user"]["id"]
    assert "sesame" not in audit.text
    assert "simsim" not in audit.text


async def test_password_refused(world: World, http: httpx.AsyncClient) -> None:
    token = await registered(http)
    for old, new, status in (("wrong", "open simsim", 403), ("open sesame", "short", 400), ("", "open simsim", 403)):
        answer = await http.post(
            "/auth/password", json={"oldPassword": old, "newPassword": new}, headers=bearing(token)
        )
        assert answer.status_code == status
    others = [
        world.hub.tokens.mint_user("u1"),
        world.hub.tokens.mint_user(claims(token)["userId"], type="guest"),  # her id, but not her session
        (await post(http, "/auth/guest"))["accessToken"],
    ]
    for other in others:
        body = {"oldPassword": "open sesame", "newPassword": "open simsim"}
        assert (await http.post("/auth/password", json=body, headers=bearing(other))).status_code == 403
    await post(http, "/auth/login", LOGIN)


async def test_logout(world: World, http: httpx.AsyncClient) -> None:
    token = await registered(http)
    browser = await world.operator(token=token)
    assert await post(http, "/auth/logout", token=token) == {"ok": True}
    assert (await told(browser))[-1][0] == "kicked"
    await refused(http, token)
    assert (await http.post("/auth/logout", headers=bearing(token))).status_code == 401
    await post(http, "/auth/login", LOGIN)


# ---- stations


async def test_station(world: World, http: httpx.AsyncClient) -> None:
    """A device key gets a token that speaks for that station, on every door."""
    admin = bearing(world.hub.tokens.mint_user("root", role="admin"))
    key = (await http.post("/stations", json={"stationId": "st-1"}, headers=admin)).json()["key"]
    token = (await post(http, "/auth/station", {"stationId": "st-1", "key": key}))["accessToken"]
    station = await world.operator(token=token)
    assert await station.request("station-register", {"stationId": "st-1"}) == {"stationId": "st-1"}
    for body in ({"stationId": "st-1", "key": key[:-1]}, {"stationId": "st-2", "key": key}):
        answer = await http.post("/auth/station", json=body)
        assert (answer.status_code, answer.json()) == (401, UNAUTHORIZED)


# ---- throttling


@pytest.mark.parametrize("options", [{"login_burst": 3}])
async def test_throttled(http: httpx.AsyncClient) -> None:
    """Account by account, then the address; with the time to wait."""
    await registered(http)
    for _ in range(3):
        assert (await http.post("/auth/login", json=LOGIN | {"password": "wrong"})).status_code == 401
    answer = await http.post("/auth/login", json=LOGIN)
    assert (answer.status_code, answer.json()["error"]) == (429, "Too Many Requests")
    assert 1 <= int(answer.headers["retry-after"]) <= 10
    for _ in range(3):
        assert (await http.post("/auth/station", json={"stationId": "st-1", "key": "x"})).status_code == 401
    assert (await http.post("/auth/station", json={"stationId": "st-1", "key": "x"})).status_code == 429
    assert (await http.post("/auth/station", json={"stationId": "st-2", "key": "x"})).status_code == 401
    assert (await http.post("/auth/guest")).status_code == 201
    for path, body in (("/auth/guest", {}), ("/auth/register", ANN), ("/auth/login", LOGIN | {"email": "bob@x"})):
        assert (await http.post(path, json=body)).status_code == 429


@pytest.mark.parametrize("options", [{"login_burst": 2, "trusted_proxies": "127.0.0.1"}])
async def test_behind_a_proxy(http: httpx.AsyncClient) -> None:
    """What counts is where the proxy says that somebody is."""
    for client in ("192.0.2.1", "192.0.2.2"):
        for status in (401, 401, 429):
            answer = await http.post("/auth/login", json=LOGIN | {"password": "x"}, headers={"X-Forwarded-For": client})
            assert answer.status_code == status


@pytest.mark.parametrize("options", [{"login_burst": 2}])
async def test_no_proxy(http: httpx.AsyncClient) -> None:
    """Whoever says to be a proxy is not believed."""
    answers = [
        await http.post("/auth/login", json=LOGIN, headers={"X-Forwarded-For": f"192.0.2.{n}"}) for n in range(3)
    ]
    assert [answer.status_code for answer in answers] == [401, 401, 429]


@pytest.mark.parametrize("options", [{"login_burst": 1, "login_rate": 0}])
async def test_no_limit(http: httpx.AsyncClient) -> None:
    assert {(await http.post("/auth/login", json=LOGIN)).status_code for _ in range(20)} == {401}
