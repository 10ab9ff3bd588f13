"""HTTP errors in the contract's one shape: `{"statusCode","message","error"}` (contract.md section 5)."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

__all__ = ["failure", "install"]

log = structlog.get_logger(__name__)


def failure(status: int, message: str | list[str], headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The answer for `status`; `message` is a text, or for a body that is wrong a list of texts."""
    body = {"statusCode": status, "message": message, "error": HTTPStatus(status).phrase}
    return JSONResponse(body, status, headers)


def install(app: FastAPI) -> None:
    """Makes every error of `app` come in that shape."""

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == 404 and error.detail == "Not Found":
            # an unknown route; one that looked for a thing says which
            return failure(404, f"Cannot {request.method} {request.url.path}")
        return failure(error.status_code, error.detail, error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return failure(400, [_finding(finding) for finding in error.errors()])

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> JSONResponse:
        log.error("request failed", method=request.method, path=request.url.path, exc_info=error)
        return failure(500, "Internal server error")


def _finding(finding: Mapping[str, Any]) -> str:
    """`field: what is wrong`, in the model's words only."""
    if finding["type"] == "json_invalid":
        return "body: not valid JSON"
    where = ".".join(str(part) for part in finding["loc"][1:]) or "body"
    return f"{where}: {finding['msg'].removeprefix('Value error, ')}"
