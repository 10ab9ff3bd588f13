"""`/docs` and `/openapi.json`: the API, described for people and programs; nothing of it comes from elsewhere."""

from typing import Any, Final

from fastapi import APIRouter, FastAPI, HTTPException, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles

from bridge.http.errors import responses

__all__ = ["document", "router"]

router = APIRouter(include_in_schema=False)

# fastapi-offline brings Swagger UI along; its own page is not used, as it needs a script inside the page
_FILES: Final = StaticFiles(packages=[("fastapi_offline", "static")])
_NAMES: Final = frozenset({"swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"})
# addresses are relative: the hub may stand behind a proxy that gives it a folder of a site
_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>StationHub API</title>
<link rel="icon" href="docs/favicon.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_START: Final = """SwaggerUIBundle({
  url: "openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis], layout: "BaseLayout",
});
"""
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:;"
    " connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_STATIC: Final = "public, max-age=86400"


@router.get("/docs", response_class=HTMLResponse)
async def docs_page(request: Request) -> Response:
    """Swagger UI."""
    if request.scope.get("raw_path", b"").endswith(b"/"):
        return RedirectResponse("../docs")  # its own addresses are relative
    return HTMLResponse(_PAGE, headers={"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache"})


@router.get("/docs/start.js")
async def docs_script() -> Response:
    """What starts it."""
    return Response(_START, media_type="text/javascript", headers={"Cache-Control": _STATIC})


@router.get("/docs/{name}")
async def docs_file(request: Request, name: str) -> Response:
    """What it is made of."""
    if name not in _NAMES:
        raise HTTPException(404)
    answer = await _FILES.get_response(name, request.scope)
    answer.headers["Cache-Control"] = _STATIC
    return answer


@router.get("/openapi.json")
async def openapi_document(request: Request) -> JSONResponse:
    """The OpenAPI document."""
    return JSONResponse(document(request.app))


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of `app`, made once: FastAPI's, with this API's errors in place of FastAPI's own."""
    if app.openapi_schema is None:
        made = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes, tags=app.openapi_tags
        )
        failures = get_openapi(title="", version="", routes=_sample.routes)
        schemas = made.setdefault("components", {}).setdefault("schemas", {})
        schemas |= failures["components"]["schemas"]
        answers = failures["paths"]["/"]["get"]["responses"]
        for operation in (one for path in made["paths"].values() for one in path.values()):
            answered = operation["responses"]
            if answered.pop("422", None) is not None:
                answered.setdefault("400", answers["400"])
            if "requestBody" in operation:
                answered |= {status: answers[status] for status in ("400", "408", "413")}
            operation["responses"] = dict(sorted(answered.items()))
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        app.openapi_schema = made
    return app.openapi_schema


_sample = FastAPI(openapi_url=None)


@_sample.get("/", responses=responses(400, 408, 413))
async def _failing() -> None: ...
