"""What people and their browsers ask for: pages, files, badges, old links, and the helpful 404."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from binderlet.api.errors import Problem, answer, as_html, as_json, wants_page
from binderlet.api.ports import Services
from binderlet.api.tokens import BuildTokens
from binderlet.api.visitor import base_url, raw_path, token_origin
from binderlet.errors import BadSpec, BinderletError, UnknownProvider

ROBOTS = "User-agent: *\nAllow: /$\nDisallow: /\n"
YEAR = 365 * 86400
LEGACY_PARTS = 2


class Site:
    """The endpoints."""

    def __init__(self, services: Services, tokens: BuildTokens) -> None:
        self._services = services
        self._pages = services.pages
        self._tokens = tokens

    def _base(self, request: Request) -> str:
        return base_url(request.scope, request.headers, self._services.settings.server.public_url)

    def problem(self, request: Request, error: BinderletError) -> Response:
        """Answer with an error: a page for people, JSON for programs."""
        if not wants_page(request.headers):
            return as_json(error)
        page = self._pages.problem(self._base(request), error.status, error.message, error.hint)
        return answer(error, request.headers, page)

    async def home(self, request: Request) -> Response:
        """Show the form."""
        return as_html(self._pages.home(self._base(request)))

    async def about(self, request: Request) -> Response:
        """Show what this service is."""
        return as_html(self._pages.about(self._base(request)))

    async def status(self, request: Request) -> Response:
        """Show how this service is."""
        return as_html(self._pages.status(self._base(request)))

    async def launch(self, request: Request) -> Response:
        """Show the launch page, with a fresh build token in it."""
        provider_id, _, spec = raw_path(request.scope).removeprefix("/v2/").partition("/")
        spec = spec.rstrip("/")
        try:
            self._check(provider_id, spec)
        except (BadSpec, UnknownProvider) as error:
            return self.problem(request, error)
        token = self._tokens.make(provider_id, spec, token_origin(request.headers), self._services.clock())
        response = as_html(self._pages.launch(self._base(request), provider_id, spec, token))
        response.headers["cache-control"] = "no-store"  # the token goes stale
        return response

    def _check(self, provider_id: str, spec: str) -> None:
        provider = self._services.providers.get(provider_id)
        if provider is None:
            raise UnknownProvider(f"No repo provider {provider_id!r} is enabled here.")
        if not spec:
            raise BadSpec("The link names no repository.")
        provider.check(spec)

    async def legacy(self, request: Request) -> Response:
        """Lead links of the first Binder, ``/repo/{user}/{repo}[/path]``, to the launch page."""
        user, _, rest = raw_path(request.scope).removeprefix("/repo/").partition("/")
        repo, _, path = rest.partition("/")
        if not user or not repo:
            return await self.not_found(request)
        query = "?" + urlencode({"urlpath": "/" + path}) if path else ""
        return RedirectResponse(f"{self._base(request)}v2/gh/{user}/{repo}/master{query}", 302)

    async def asset(self, request: Request) -> Response:
        """Send a file of the pages; with ``?v=`` it may be kept for a year."""
        return await self._file(request, request.url.path.removeprefix("/static/"))

    async def badge(self, request: Request) -> Response:
        """Send a badge or icon, whichever of its URLs was used."""
        return await self._file(request, request.url.path.rpartition("/")[2])

    async def _file(self, request: Request, name: str) -> Response:
        asset = self._pages.asset(name)
        if asset is None:
            return await self.not_found(request)
        headers = {
            "content-type": asset.content_type,
            "etag": asset.etag,
            "cache-control": f"public, max-age={YEAR}, immutable" if "v" in request.query_params else "no-cache",
            "x-content-type-options": "nosniff",
        }
        if asset.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(asset.body, headers=headers)

    async def robots(self, _request: Request) -> Response:
        """Let crawlers see the home page alone: a launch costs a session."""
        return PlainTextResponse(ROBOTS)

    async def not_found(self, request: Request) -> Response:
        """Say what there is instead."""
        path = quote(request.url.path)
        hint = "Links to repositories look like /v2/gh/owner/repository/HEAD; the home page makes them."
        return self.problem(request, Problem(404, "not_found", f"There is no page at {path}.", hint))
