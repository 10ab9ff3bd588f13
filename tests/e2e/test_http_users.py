"""`/users` over a whole hub, with either database: accounts as admins see them, and how a change reaches who is connected."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from bridge.http.users import User, Users
from tests.databases import Postgres, postgres  # noqa: F401  # a fixture
from tests.e2e.conftest import World
from tests.e2e.test_http_auth import ANN, LOGIN, UNAUTHORIZED, bearing, claims, post, refused, told
from tests.e2e.test_http_auth import http as http  # a fixture

pytestmark = pytest.mark.parametrize("world", ["embedded"], indirect=True)

BOB = {"email": "bob@x.org", "password": "bob's secret", "nickname": "Bob", "role": "operator"}


@pytest.fixture(params=["sqlite", "postgresql"])
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    if request.param == "sqlite":
        return {}
    server: Postgres = request.getfixturevalue("postgres")
    return {"database": server.new_database()}


@pytest.fixture
async def admin(world: World, http: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    """The admin that the first start made, logged in."""
    made = await world.hub.accounts.first_admin()
    assert made is not None
    token = (await post(http, "/auth/login", made._asdict()))["accessToken"]
    async with httpx.AsyncClient(base_url=world.hub.http_url, headers=bearing(token), trust_env=False) as client:
        yield client


async def registered(http: httpx.AsyncClient) -> tuple[str, str]:
    """Ann's id and token."""
    body = await post(http, "/auth/register", ANN)
    return body["user"]["id"], body["accessToken"]


async def audited(admin: httpx.AsyncClient, *, action: str = "") -> list[dict[str, Any]]:
    """What was noted of users, the newest first."""
    answer = await admin.get("/audit")
    assert answer.status_code == 200
    assert all(secret not in answer.text for secret in ("secret", "sesame", "simsim", "argon2"))
    return [item for item in answer.json()["items"] if item["action"].startswith(action or "user.")]


async def test_life(admin: httpx.AsyncClient, http: httpx.AsyncClient) -> None:
    """Made, read, changed, deleted; the models of the document hold all that is answered, and each change is noted."""
    made = await admin.post("/users", json=BOB | {"unknown": 1})
    assert made.status_code == 201
    User.model_validate_json(made.content, extra="forbid")
    bob = made.json()
    assert bob == {
        "id": bob["id"],
        "email": "bob@x.org",
        "nickname": "Bob",
        "role": "operator",
        "disabled": False,
        "createdAt": bob["createdAt"],
        "updatedAt": bob["createdAt"],
    }
    path = f"/users/{bob['id']}"
    assert (await admin.get(path)).json() == bob
    assert claims((await post(http, "/auth/login", BOB))["accessToken"])["role"] == "operator"
    changed = await admin.patch(path, json={"nickname": "Bobby", "role": "viewer", "disabled": None})
    assert changed.json() == bob | {"nickname": "Bobby", "role": "viewer", "updatedAt": changed.json()["updatedAt"]}
    assert changed.json()["updatedAt"] > bob["updatedAt"]
    deleted = await admin.delete(path)
    assert (deleted.status_code, deleted.json()) == (200, changed.json())
    for method in ("GET", "PATCH", "DELETE"):
        answer = await admin.request(method, path, json={} if method == "PATCH" else None)
        assert answer.status_code == 404
        assert answer.json() == {"statusCode": 404, "message": "There is no such user", "error": "Not Found"}
    assert (await http.post("/auth/login", json=BOB)).status_code == 401
    noted = await audited(admin)
    assert [(item["action"], item["target"]) for item in noted] == [
        ("user.delete", bob["id"]),
        ("user.change", bob["id"]),
        ("user.change", bob["id"]),
        ("user.create", bob["id"]),
    ]
    assert noted[2]["detail"] == {"email": "bob@x.org", "nickname": "Bobby", "role": "viewer"}
    assert noted[3]["detail"] == {"email": "bob@x.org", "role": "operator"}


async def test_list(admin: httpx.AsyncClient) -> None:
    for number in range(5):
        body = BOB | {"email": f"{number}@y.org", "nickname": f"name {number % 2}"}
        assert (await admin.post("/users", json=body)).status_code == 201
    everybody = await admin.get("/users")
    Users.model_validate_json(everybody.content, extra="forbid")
    assert everybody.json()["total"] == 6
    assert [everybody.json()[name] for name in ("limit", "offset")] == [50, 0]

    async def emails(query: str) -> list[str]:
        return [user["email"] for user in (await admin.get(f"/users?{query}")).json()["items"]]

    assert await emails("role=admin") == ["admin@localhost"]
    assert await emails("q=Y.ORG&sort=-email&limit=2&offset=1") == ["3@y.org", "2@y.org"]
    assert await emails("q=name+1&sort=createdAt") == ["1@y.org", "3@y.org"]
    assert await emails("q=%25") == []


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=x",
        "offset=-1",
        "offset=99999999999999999999",
        "sort=password",
        "role=station",
        "q=%00",
    ],
)
async def test_questions_that_make_no_sense(admin: httpx.AsyncClient, query: str) -> None:
    answer = await admin.get(f"/users?{query}")
    assert (answer.status_code, answer.json()["error"]) == (400, "Bad Request")
    (text,) = answer.json()["message"]
    assert text.startswith(query.partition("=")[0] + ": ")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/users", {}),
        ("POST", "/users", BOB | {"role": "station"}),
        ("POST", "/users", BOB | {"role": "service"}),
        ("POST", "/users", BOB | {"password": "short"}),
        ("POST", "/users", BOB | {"nickname": None}),
        ("POST", "/users", [BOB]),
        ("PATCH", "/users/u-1", {"role": "root"}),
        ("PATCH", "/users/u-1", {"disabled": "yes"}),
        ("PATCH", "/users/u-1", {"disabled": 1}),
        ("PATCH", "/users/u-1", {"password": "x" * 257}),
        ("PATCH", "/users/u-1", None),
        ("GET", "/users/%00", None),
        ("GET", "/users/" + "x" * 65, None),
        ("GET", "/users/%F0%9F%98%80", None),
    ],
)
async def test_malformed(admin: httpx.AsyncClient, method: str, path: str, body: Any) -> None:
    answer = await admin.request(method, path, json=body)
    assert (answer.status_code, answer.json()["error"]) == (400, "Bad Request")


async def test_a_taken_email(admin: httpx.AsyncClient, http: httpx.AsyncClient) -> None:
    await registered(http)
    answer = await admin.post("/users", json=BOB | {"email": "ANN@x.org"})
    assert (answer.status_code, answer.json()["error"]) == (409, "Conflict")


async def test_only_admins(world: World, http: httpx.AsyncClient) -> None:
    routes = [
        ("GET", "/users"),
        ("POST", "/users"),
        ("GET", "/users/u-1"),
        ("PATCH", "/users/u-1"),
        ("DELETE", "/users/u-1"),
    ]
    tokens = world.hub.tokens
    others = [tokens.mint_user(f"a {role}", role=role) for role in ("viewer", "operator", "service")] + [
        tokens.mint_station("st-1"),
        (await post(http, "/auth/guest"))["accessToken"],
    ]
    for method, path in routes:
        body: dict[str, str] | None = {} if method in ("POST", "PATCH") else None
        answer = await http.request(method, path, json=body)
        assert (answer.status_code, answer.json()) == (401, UNAUTHORIZED)
        for token in others:
            assert (await http.request(method, path, json=body, headers=bearing(token))).status_code == 403


@pytest.mark.parametrize("change", [{"role": "operator"}, {"disabled": True}, {"password": "open simsim"}, None])
async def test_a_change_ends_the_sessions(
    world: World, admin: httpx.AsyncClient, http: httpx.AsyncClient, change: dict[str, Any] | None
) -> None:
    """On both doors and over HTTP, within a second; None stands for a delete."""
    user_id, token = await registered(http)
    browsers = [await world.operator(token=token) for _ in range(2)]
    bystander = await world.operator()
    path = f"/users/{user_id}"
    answer = await (admin.delete(path) if change is None else admin.patch(path, json=change))
    assert answer.status_code == 200
    for browser in browsers:
        assert (await told(browser))[-1] == ("kicked", {"reason": "REVOKED"})
        assert browser.close_code == 4403
    await refused(http, token)
    assert (await http.post("/auth/refresh", headers=bearing(token))).status_code == 401
    assert (await bystander.request("ping"))["pong"] is True
    status = {"role": 201}.get(next(iter(change or {"": None})), 401)
    assert (await http.post("/auth/login", json=LOGIN)).status_code == status


@pytest.mark.parametrize("change", [{"nickname": "Anna"}, {"disabled": False}, {}])
async def test_a_change_that_ends_no_session(admin: httpx.AsyncClient, http: httpx.AsyncClient, change: Any) -> None:
    user_id, token = await registered(http)
    assert (await admin.patch(f"/users/{user_id}", json=change)).status_code == 200
    assert (await http.get("/auth/profile", headers=bearing(token))).status_code == 200


async def test_a_raised_account(world: World, admin: httpx.AsyncClient, http: httpx.AsyncClient) -> None:
    """After the next login it may what its role may."""
    user_id, _ = await registered(http)
    await admin.patch(f"/users/{user_id}", json={"role": "admin"})
    token = (await post(http, "/auth/login", LOGIN))["accessToken"]
    assert (await http.get("/users", headers=bearing(token))).status_code == 200
    browser = await world.operator(token=token)
    assert world.hub.gateway.peers[browser.peer_id].identity.role == "admin"


async def test_a_password_is_noted_but_not_told(admin: httpx.AsyncClient, http: httpx.AsyncClient) -> None:
    user_id, _ = await registered(http)
    await admin.patch(f"/users/{user_id}", json={"password": "open simsim"})
    assert (await audited(admin))[0]["detail"] == {"email": "ann@x.org", "password": True}


async def test_the_last_admin(admin: httpx.AsyncClient) -> None:
    """Cannot be lost, and keeps the session in which that was tried."""
    (root,) = (await admin.get("/users?role=admin")).json()["items"]
    path = f"/users/{root['id']}"
    for change in ({"role": "viewer"}, {"disabled": True}, {"role": "operator", "password": "another secret"}):
        answer = await admin.patch(path, json=change)
        assert (answer.status_code, answer.json()["error"]) == (409, "Conflict")
    assert (await admin.delete(path)).status_code == 409
    assert (await admin.get(path)).json() == root
    assert await audited(admin) == []


async def test_disabled_while_logging_in(
    world: World, admin: httpx.AsyncClient, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login that was right when it began gets nothing from an account that was disabled before it ended."""
    user_id, _ = await registered(http)
    sign_in = world.hub.authenticator.sign_in

    async def late(who: str, **options: Any) -> str:
        assert (await admin.patch(f"/users/{user_id}", json={"disabled": True})).status_code == 200
        late.token = await sign_in(who, **options)  # type: ignore[attr-defined]  # kept on the function itself
        return late.token  # type: ignore[attr-defined,no-any-return]

    monkeypatch.setattr(world.hub.authenticator, "sign_in", late)
    assert (await http.post("/auth/login", json=LOGIN)).status_code == 401
    await refused(http, late.token)  # type: ignore[attr-defined]
