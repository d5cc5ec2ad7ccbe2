"""Every URL of the service."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route, request_response
from starlette.types import ASGIApp, Receive, Scope, Send

from binderlet.api.acme import Challenges
from binderlet.api.admin import Admin
from binderlet.api.build import PREFIX, Build
from binderlet.api.buildlog import BuildLogs
from binderlet.api.cors import Cors
from binderlet.api.errors import Guard, Problem, as_json
from binderlet.api.health import Health
from binderlet.api.images import image_routes
from binderlet.api.membership import Wishes
from binderlet.api.metrics import Metrics
from binderlet.api.ports import Services
from binderlet.api.repoproviders import RepoProviders
from binderlet.api.reservations import Reservations
from binderlet.api.restore import restore_routes
from binderlet.api.session_end import SessionEnds
from binderlet.api.site import Site
from binderlet.api.sse import Streams
from binderlet.api.statistics import statistics_routes
from binderlet.api.tokens import BuildTokens
from binderlet.api.versions import Versions

BADGES = (
    "/badge_logo.svg",
    "/badge.svg",
    "/assets/images/badge.svg",
    "/logo_social.png",
    "/favicon.ico",
    "/favicon.svg",
)
READ = frozenset({"GET", "HEAD"})


def create_app(services: Services) -> Starlette:
    """Make the public service; ``app.state.streams.close()`` ends the open event streams before a shutdown."""
    streams = Streams(grace=services.settings.server.grace_after_ready)
    tokens = BuildTokens(services.build_token_secret)
    site, health, providers = Site(services, tokens), Health(services), RepoProviders(services)
    routes: list[BaseRoute] = [
        Prefix(PREFIX, Build(services, streams, tokens)),
        # for programs
        Route("/health", health.health),
        Route("/versions", Versions(services).answer),
        Route("/metrics", Metrics(services).answer),
        Route("/api/repoproviders", providers.listing),
        Route("/api/status", health.status),
        *([Route("/api/federation/images", Wishes(services).images)] if services.membership else ()),
        Route("/api/builds/{build_id}/log", BuildLogs(services).answer),
        Route("/api/sessions/{session_id}/end", SessionEnds(services).answer),
        Route("/_config", providers.legacy),
        # for people
        Route("/", site.home),
        Route("/about", site.about),
        Route("/status", site.status),
        *statistics_routes(services, site),
        Prefix("/v2/", request_response(site.launch), READ),
        Prefix("/repo/", request_response(site.legacy), READ),
        # files
        Prefix("/static/", request_response(site.asset), READ),
        *(Route(path, site.badge) for path in BADGES),
        Route("/robots.txt", site.robots),
        Route("/.well-known/acme-challenge/{token}", Challenges(services.challenges).answer),
    ]
    return assemble(routes, services, streams, site)


def create_admin_app(services: Services) -> Starlette:
    """Make the operator's service, for a unix socket that nobody else can open."""
    streams = Streams(grace=0)
    tokens = BuildTokens(services.build_token_secret)
    admin, site = Admin(services), Site(services, tokens)
    routes: list[BaseRoute] = [
        Prefix(PREFIX, Build(services, streams, tokens, admin=True)),
        Route("/status", admin.status),
        Route("/sessions", admin.sessions),
        Route("/sessions/{session_id}", admin.stop, methods=["DELETE"]),
        Route("/sessions/{session_id}/extend", admin.extend, methods=["POST"]),
        Route("/builds", admin.builds),
        *reservation_routes(services),
        *restore_routes(services),
        *([Route("/federation", Wishes(services).wish, methods=["GET", "POST"])] if services.membership else ()),
        *image_routes(services),
        Route("/api/builds/{build_id}/log", BuildLogs(services).answer),
        Route("/shutdown", admin.shutdown, methods=["POST"]),
    ]
    return assemble(routes, services, streams, site)


def reservation_routes(services: Services) -> list[Route]:
    """Give the operator's URLs for reservations."""
    if services.desk is None:
        return []
    reservations = Reservations(services, services.desk)
    return [
        Route("/reservations", reservations.listing),
        Route("/reservations", reservations.reserve, methods=["POST"]),
        Route("/reservations/{reservation_id}", reservations.cancel, methods=["DELETE"]),
    ]


def assemble(routes: list[BaseRoute], services: Services, streams: Streams, site: Site) -> Starlette:
    """Put together what both services share: errors, headers, and an answer for every other URL."""

    async def wrong_method(request: Request, _error: Exception) -> Response:
        message = f"{request.method} is not allowed at this URL."
        return as_json(Problem(405, "method_not_allowed", message, "Most URLs take GET alone."))

    middleware = [Middleware(Cors, origin=services.settings.server.cors_allow_origin), Middleware(Guard)]
    app = Starlette(routes=routes, middleware=middleware, exception_handlers={405: wrong_method})
    app.router.default = request_response(site.not_found)
    app.state.streams = streams
    return app


class Prefix(BaseRoute):
    """Everything below a path goes to one ASGI application, whatever characters follow; the path stays whole."""

    def __init__(self, path: str, app: ASGIApp, methods: frozenset[str] | None = None) -> None:
        self.path = path
        self._app = app
        self._methods = methods

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match by the start of the path."""
        found = scope["type"] == "http" and scope["path"].startswith(self.path)
        return (Match.FULL, {}) if found else (Match.NONE, {})

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; 405 for a method that is not meant."""
        if self._methods is not None and scope["method"] not in self._methods:
            raise HTTPException(405, headers={"Allow": ", ".join(sorted(self._methods))})
        await self._app(scope, receive, send)
