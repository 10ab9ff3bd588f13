"""The API as it describes itself: complete, true, and readable without anything from elsewhere."""

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from bridge.http.app import SUBJECTS
from tests.e2e.conftest import World

pytestmark = pytest.mark.parametrize("world", ["embedded"], indirect=True)
OPEN = {"/health", "/ready", "/metrics", "/auth/guest", "/auth/register", "/auth/login", "/auth/station"}


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=world.hub.http_url, trust_env=False) as client:
        yield client


@pytest.fixture
async def document(http: httpx.AsyncClient) -> dict[str, Any]:
    answer = await http.get("/openapi.json")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for one in value.values():
            yield from references(one)
    elif isinstance(value, list):
        for one in value:
            yield from references(one)


async def test_every_route_is_described(document: dict[str, Any]) -> None:
    """What the routers serve is what the document says, each operation under the name of its function."""
    app = FastAPI()
    for subject in SUBJECTS:
        app.include_router(subject.router)
    names = {operation["operationId"] for _, _, operation in operations(document)}
    assert len(names) == len(list(operations(document)))
    assert {"health", "list_rooms", "create_room", "room_exists", "ice_config"} <= names
    assert {path for path, _, _ in operations(app.openapi())} == set(document["paths"])


async def test_errors(document: dict[str, Any]) -> None:
    """Every error has the contract's shape; FastAPI's own is nowhere."""
    schemas = document["components"]["schemas"]
    for path, method, operation in operations(document):
        for status, answer in operation["responses"].items():
            where = f"{method} {path} {status}"
            assert status != "422", where
            if int(status) >= 400:
                model = answer["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
                assert {"statusCode", "message", "error"} <= set(schemas[model]["required"]), where
                assert ("Retry-After" in answer.get("headers", {})) == (status in ("429", "503")), where
        if "requestBody" in operation:
            assert {"400", "413"} <= set(operation["responses"]), where
        if operation.get("parameters", []) and any(one["in"] == "query" for one in operation["parameters"]):
            assert "400" in operation["responses"], where
    assert not {"HTTPValidationError", "ValidationError"} & set(schemas)


async def test_answers(document: dict[str, Any]) -> None:
    """Every answer says what it holds."""
    for path, method, operation in operations(document):
        for status, answer in operation["responses"].items():
            if int(status) < 300 and status != "204":
                (content,) = answer["content"].values()
                assert content["schema"], f"{method} {path} {status}: no model"


async def test_tokens(document: dict[str, Any]) -> None:
    """Every route that needs a token says so, with the 401 that it gives without; no other does."""
    assert document["components"]["securitySchemes"] == {
        "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    }
    for path, method, operation in operations(document):
        where = f"{method} {path}"
        if path in OPEN:
            assert "security" not in operation, where
        else:
            assert operation["security"] == [{"bearer": []}], where
            assert "401" in operation["responses"], where


async def test_without_a_token(http: httpx.AsyncClient, document: dict[str, Any]) -> None:
    """What the document says needs a token is refused without one, before anything else is looked at."""
    for path, method, operation in operations(document):
        if "security" in operation:
            answer = await http.request(method, re.sub(r"\{\w+\}", "x", path), json={})
            assert answer.status_code == 401, f"{method} {path}"
            assert answer.headers["www-authenticate"] == "Bearer"


async def test_references(document: dict[str, Any]) -> None:
    """What the document refers to, it has; what it has, it refers to."""
    used = set(references(document))
    assert used == {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}


async def test_the_page(http: httpx.AsyncClient) -> None:
    """/docs loads nothing from elsewhere, and its policy would not let it; all it loads is there."""
    page = await http.get("/docs")
    assert page.status_code == 200
    policy = dict(part.strip().partition(" ")[::2] for part in page.headers["content-security-policy"].split(";"))
    assert policy["script-src"] == "'self'"
    assert policy["default-src"] == "'none'"
    assert "http" not in page.headers["content-security-policy"]
    assert "<script>" not in page.text
    assert "//" not in page.text
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(named) == 4
    for name in named:
        found = await http.get(f"/{name}")
        assert found.status_code == 200
        assert found.headers["cache-control"].startswith("public")
        assert found.headers["x-content-type-options"] == "nosniff"
        kind = {"js": "text/javascript", "css": "text/css", "png": "image/png"}[name.rpartition(".")[2]]
        assert found.headers["content-type"].partition(";")[0] == kind
    bundle = await http.get("/docs/swagger-ui-bundle.js")
    again = await http.get("/docs/swagger-ui-bundle.js", headers={"If-None-Match": bundle.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["nothing.js", "redoc.standalone.js", "..%2f__init__.py", "%2e%2e/core.py", "a%00b"])
async def test_no_other_files(http: httpx.AsyncClient, name: str) -> None:
    answer = await http.get(f"/docs/{name}")
    assert (answer.status_code, answer.json()["error"]) == (404, "Not Found")
