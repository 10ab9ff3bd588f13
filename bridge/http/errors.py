"""HTTP errors in the contract's one shape: `{"statusCode","message","error"}` (contract.md section 5)."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from hub.link import LinkDown
from hub.store.database import StoreDown

__all__ = ["NOT_JSON", "NO_BROKER", "NO_DATABASE", "RETRY_SECONDS", "Failure", "failure", "install", "responses"]

NO_BROKER: Final = "The broker cannot be reached"
NO_DATABASE: Final = "The database cannot be reached"
NOT_JSON: Final = "body: not valid JSON"
_UNREADABLE: Final = "There was an error parsing the body"
"""FastAPI's own text about a body that Python cannot read."""
RETRY_SECONDS: Final = 5
"""What a client is told to wait for when a part of the hub is out of reach."""
_RETRY: Final = {"description": "Seconds to wait.", "schema": {"type": "integer"}}
_HEADERS: Final[dict[int, dict[str, Any]]] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}}},
    429: {"Retry-After": _RETRY},
    503: {"Retry-After": _RETRY},
}


class Failure(BaseModel):
    """What every error is."""

    statusCode: int
    message: str | list[str] = Field(description="A text; a list of texts, one a fault, when the request is malformed.")
    error: str = Field(description="The status in words.")


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors of a route for the OpenAPI document: `@router.get("/x", responses=responses(400, 401, 403))`."""
    return {
        status: {"model": Failure, "description": HTTPStatus(status).phrase}
        | ({"headers": _HEADERS[status]} if status in _HEADERS else {})
        for status in statuses
    }


def failure(status: int, message: str | list[str], headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The answer for `status`; `message` is a text, or for a request that is malformed a list of texts."""
    body = {"statusCode": status, "message": message, "error": HTTPStatus(status).phrase}
    return JSONResponse(body, status, headers)


def install(app: FastAPI, methods: Mapping[str, list[str]]) -> None:
    """Makes every error of `app` come in that shape; what nobody foresaw is `bridge.http.headers.Frame`'s.

    Args:
        methods: those of each path, as its route spells it: the router itself would name those of one route alone in 405's Allow.
    """

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == 404 and error.detail == "Not Found":
            # an unknown route; one that looked for a thing says which
            return failure(404, f"Cannot {request.method} {request.scope['path']}")
        if error.status_code == 405:
            # [RFC 9110, 10.2.1]
            known = methods.get(getattr(request.scope.get("route"), "path", ""))
            return failure(405, error.detail, {"Allow": ", ".join(known)} if known else error.headers)
        if error.status_code == 400 and error.detail == _UNREADABLE:
            return failure(400, [NOT_JSON])
        return failure(error.status_code, error.detail, error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return failure(400, [_finding(finding) for finding in error.errors()])

    @app.exception_handler(LinkDown)
    async def no_broker(_: Request, __: LinkDown) -> JSONResponse:
        return failure(503, NO_BROKER, {"Retry-After": str(RETRY_SECONDS)})

    @app.exception_handler(StoreDown)
    async def no_database(_: Request, __: StoreDown) -> JSONResponse:
        return failure(503, NO_DATABASE, {"Retry-After": str(RETRY_SECONDS)})


def _finding(finding: Mapping[str, Any]) -> str:
    """`field: what is wrong`, in the model's words only."""
    if finding["type"] == "json_invalid":
        return NOT_JSON
    # past the first level, and for a field that should not be there, the name is the sender's own
    where = [str(part) for part in finding["loc"][1:2] if finding["type"] != "extra_forbidden"]
    text = str(finding["msg"]).removeprefix("Value error, ")
    if finding["type"] in ("too_long", "too_short"):
        text = text.partition(", not ")[0]
    return f"{where[0] if where else finding['loc'][0]}: {text}"
