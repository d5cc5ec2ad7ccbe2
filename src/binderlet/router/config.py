"""HAProxy's configuration as text: pure, so that it can be compared, hashed and read in a test.

All file names in it are relative to the folder that HAProxy is started in, so that odd names of folders do no harm.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from binderlet.router.error_pages import ErrorPages

MAP = "routes.map"
NOTES = "pair.map"
"""What HAProxy looks up besides, where it is one of several: ``leader`` -> ``host:port``, ``synced`` -> ``yes``."""
LEADER, SYNCED = "leader", "synced"
PAIR_SOCKET = "pair.sock"
PAIR_HEADER = "x-binderlet-pair"
CERTIFICATE = "certificate.pem"
SOCKET = "haproxy.sock"
MASTER_SOCKET = "master.sock"
MAX_CONNECTIONS = 8000
MOST_PROXIES = 4
"""One behind the other."""
HTTPS_PORT = 443
SPARE_FILES = 200
"""File descriptors left for listeners, health and sockets beside two per connection."""
MAX_THREADS = 4
"""A core carries about 20,000 small requests a second; more threads only cost memory."""

POLLS = (
    "^/user/[^/]+/(api(/(kernels|sessions|terminals|status|kernelspecs|me|metrics/v1))?"
    "|lab/api/workspaces|lsp/status|metrics)/?$"
)
"""What JupyterLab and its usual extensions ask for on their own, tab open, nobody there; from recorded traffic."""
LISTINGS = "^/user/[^/]+/api/contents(/.*)?$"
"""The file browser's refresh, every ten seconds; opening a file has a ``type`` parameter."""

PREFLIGHT_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
PREFLIGHT_HEADERS = "authorization, cache-control, content-type, last-event-id, x-xsrftoken"
PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"


@dataclass(frozen=True, slots=True)
class Tls:
    """HTTPS that HAProxy ends, with the certificate in ``CERTIFICATE``."""

    port: int
    redirect: bool = True
    """Whether http leads to https."""
    hsts: int = 0
    """Seconds for which browsers are told to come by https only."""


@dataclass(frozen=True, slots=True)
class Proxies:
    """What stands between the visitors and this HAProxy, and is believed."""

    trusted: tuple[str, ...]
    """Subnets."""
    proxy_protocol: bool = False
    """Whether they say whom they bring before the first byte."""


@dataclass(frozen=True, slots=True)
class Others:
    """Further HAProxies with the same sessions: one control plane leads, and the others' HAProxies pass on to its."""

    port: int
    """Where they come to this one."""
    secret: str
    """One word that they send, and nobody else knows."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All that the configuration depends on."""

    host: str
    port: int
    control_socket: str
    """The unix socket the control plane listens on, relative to HAProxy's folder."""
    pages: ErrorPages
    cors_allow_origin: str = "*"
    secure: bool = False
    """Whether visitors come by https, through something in front of us that ends TLS."""
    max_connections: int = MAX_CONNECTIONS
    threads: int = 2
    user: str = ""
    """``user:group`` to become after start; empty: stay who we are."""
    tls: Tls | None = None
    others: Others | None = None
    proxies: Proxies | None = None
    socket_mode: str = "600"
    """Of the socket that HAProxy is led by: of this user alone, or of its group."""


def max_connections(open_files: int) -> int:
    """Give the connections that this limit of open files allows; HAProxy refuses to start above it."""
    return max(50, min(MAX_CONNECTIONS, (open_files - SPARE_FILES) // 2))


def render(plan: Plan) -> str:
    """Give the whole configuration; its ``description`` is a fingerprint of itself and of the pages it loads."""
    sections = (_defaults(), _tables(), _frontend(plan), _sessions(plan), _control(plan), *_of_several(plan))
    body = "\n".join(sections)
    return _global(plan, fingerprint(_global(plan, "") + body + repr(plan.pages))) + "\n" + body


def fingerprint(text: str) -> str:
    """Give 16 hexadecimal digits that change with the text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def fingerprint_of(config: str) -> str:
    """Read the fingerprint out of a rendered configuration."""
    return config.partition("  description ")[2].partition("\n")[0]


def quote(text: str) -> str:
    """Quote a word for the configuration; inside single quotes only the single quote is special."""
    return "'" + text.replace("'", "'\"'\"'") + "'"


def bind_address(host: str, port: int) -> str:
    """Give the ``bind`` line's address; IPv6's any-address also takes IPv4, as other servers do."""
    bare = host.strip("[]")
    if ":" not in bare:
        return f"{bare}:{port}"
    return f"[{bare}]:{port} v4v6" if bare == "::" else f"[{bare}]:{port}"


def _global(plan: Plan, mark: str) -> str:
    user, _, group = plan.user.partition(":")
    identity = f"  user {user}\n  group {group}\n" if plan.user else ""
    return f"""\
global
  description {mark}
  master-worker
  # Without this a second HAProxy could take the same port and half of the visitors.
  noreuseport
  stats socket unix@{SOCKET} mode {plan.socket_mode} level admin expose-fd listeners
{identity}  maxconn {plan.max_connections}
  nbthread {plan.threads}
  # Room for one cookie per session ever opened here.
  tune.bufsize 32768
  tune.maxrewrite 2048
  tune.http.maxhdr 128
  # A worker that a reload replaced stays until its last WebSocket closes, but not for ever.
  hard-stop-after 24h
  ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets
"""


def _defaults() -> str:
    return """\
defaults
  mode http
  timeout connect 1s
  timeout http-request 20s
  timeout http-keep-alive 60s
  timeout client 60s
  timeout server 120s
  timeout tunnel 24h
  timeout client-fin 30s
  timeout server-fin 30s
  # A session that is gone is said to be gone at once; the default is three tries of a second each.
  retries 0
  option clitcpka
  # Live WebSockets are counted while they live, not when they close.
  option contstats
  # Event streams and chatty sockets: send what there is.
  option http-no-delay
"""


def _tables() -> str:
    return """\
backend act
  stick-table type string len 64 size 20k expire 24h store conn_cur,http_req_cnt,bytes_in_cnt,bytes_out_cnt

backend ws
  stick-table type string len 64 size 20k expire 24h store conn_cur
"""


def _frontend(plan: Plan) -> str:
    scheme = "https" if plan.secure else "http"
    # What is not known here may be known to the one that leads.
    unknown, leader = (" !led", "  use_backend leader if led\n") if plan.others else ("", "")
    return f"""\
frontend visitors
  bind {bind_address(plan.host, plan.port)}
{_proxied(plan.proxies)}{_https(plan)}  http-request deny deny_status 405 if {{ method CONNECT TRACE }}
  http-request deny deny_status 400 if {{ path_beg // }}

  # We are the edge: what a client says about itself is not passed on.
  http-request del-header ^(forwarded|x-forwarded-.*|x-real-ip|x-scheme|proxy)$ -m reg
  http-request set-header X-Forwarded-For %[{"var(txn.visitor)" if plan.proxies else "src"}]
  http-request set-header X-Forwarded-Proto {scheme}
{_https_mark(plan)}  http-request set-header X-Forwarded-Host %[req.hdr(host)] if {{ req.hdr(host) -m found }}

{_look_up(plan)}
  acl preflight req.hdr(access-control-request-method) -m found
  http-request return status 204{_preflight(plan)} if of_session !routed METH_OPTIONS preflight{unknown}
  http-request return status 424 {_page("gone.html", plan)} if of_session !routed{unknown}

{_to_session()}
  use_backend sessions if routed
{leader}  default_backend control
"""


def _look_up(plan: Plan) -> str:
    """Give the rules that find a request's session, and where nobody here knows it or what else is asked for goes."""
    led = f"""\
  http-request set-var(txn.leader) str({LEADER}),map_str({NOTES})
  acl led var(txn.leader) -m found
"""
    return f"""\
  # The id is the second segment of the raw path: an encoded one is not in the map and goes nowhere.
  acl of_session path_beg /user/
  http-request set-var(txn.session) path,field(3,/) if of_session
  http-request set-var(txn.address) var(txn.session),map_str({MAP}) if of_session
  acl routed var(txn.address) -m found
{led if plan.others else ""}"""


def _to_session() -> str:
    """Give the rules for a request whose session is known."""
    return f"""\
  acl bare path_reg ^/user/[^/]+$
  acl has_query query -m len gt 0
  http-request redirect code 307 location /user/%[var(txn.session)]/?%[query] if routed bare has_query
  http-request redirect code 307 location /user/%[var(txn.session)]/ if routed bare

  acl reads method GET HEAD
  acl polls path_reg {POLLS}
  acl lists path_reg {LISTINGS}
  acl opens url_param(type) -m found
  http-request set-var(txn.idle) bool(true) if routed reads polls
  http-request set-var(txn.idle) bool(true) if routed reads lists !opens
  http-request track-sc0 var(txn.session) table act if routed !{{ var(txn.idle) -m found }}
  http-request track-sc1 var(txn.session) table ws if routed {{ req.hdr(upgrade) -i websocket }}
"""


def _of_several(plan: Plan) -> list[str]:
    """Give what one HAProxy of several has besides: a door for the others, and the way to the one that leads."""
    others = plan.others
    if others is None:
        return []
    entrance = f"""\
frontend others
  # What the others say of a visitor is passed on: they are the edge.
  bind {bind_address(plan.host, others.port)}
  http-request return status 200 if {{ path /pair/ready }} {{ str({SYNCED}),map_str({NOTES}) -m found }}
  http-request return status 503 if {{ path /pair/ready }}
  http-request deny deny_status 403 if !{{ path /pair/alive }} !{{ req.hdr({PAIR_HEADER}) -m str {others.secret} }}
  http-request del-header {PAIR_HEADER}
{_look_up(replace(plan, others=None))}
  http-request return status 424 {_page("gone.html", plan)} if of_session !routed

{_to_session()}
  use_backend pair if {{ path_beg /pair/ }}
  use_backend sessions if routed
  default_backend control
"""
    pair = f"""\
backend pair
  option http-server-close
  server pair {quote("unix@" + PAIR_SOCKET)}
"""
    leader = f"""\
backend leader
  # A session that is not known here yet may take as long as one that is.
  timeout server 1h
  option http-server-close
  http-request set-header {PAIR_HEADER} {others.secret}
  http-request set-dst var(txn.leader),field(1,:)
  http-request set-dst-port var(txn.leader),field(2,:)
{_error_pages("control_down.html", plan)}
  server leader 0.0.0.0:0
"""
    return [entrance, pair, leader]


def _proxied(proxies: Proxies | None) -> str:
    """Give the rules that find the visitor behind proxies: the last address in what they say that is none of theirs."""
    if proxies is None:
        return ""
    trusted = " ".join(proxies.trusted)
    lines = [f"tcp-request connection expect-proxy layer4 if {{ src {trusted} }}"] if proxies.proxy_protocol else []
    lines += [
        f"acl from_proxy src {trusted}",
        "http-request set-var(txn.scheme) req.hdr(x-forwarded-proto),lower if from_proxy",
        "http-request set-var(txn.visitor) src",
        f"acl behind var(txn.visitor) -m ip {trusted}",
    ]
    # What is left of something that is no address may be the visitor's own words.
    readable = ""
    for place in range(1, MOST_PROXIES + 1):
        address = f"req.hdr_ip(x-forwarded-for,-{place})"
        lines.append(f"http-request set-var(txn.visitor) {address} if behind{readable}")
        readable += f" {{ {address} -m found }}"
    return "".join(f"  {line}\n" for line in lines)


def _https_mark(plan: Plan) -> str:
    mark = "  http-request set-header X-Forwarded-Proto"
    said = "".join(f"{mark} {scheme} if {{ var(txn.scheme) -m str {scheme} }}\n" for scheme in ("http", "https"))
    return (f"{mark} https if {{ ssl_fc }}\n" if plan.tls else "") + (said if plan.proxies else "")


def _https(plan: Plan) -> str:
    if plan.tls is None:
        return ""
    lines = [f"bind {bind_address(plan.host, plan.tls.port)} ssl crt {CERTIFICATE} alpn h2,http/1.1"]
    if plan.tls.redirect:
        port = "" if plan.tls.port == HTTPS_PORT else f":{plan.tls.port}"
        # The authority asks for its token by http, and monitors on this machine need no certificate.
        unless = "if !tls !plain_path"
        lines += [
            "acl tls ssl_fc",
            *(["acl tls var(txn.scheme) -m str https"] if plan.proxies else []),
            "acl plain_path path_beg /.well-known/acme-challenge/ /health",
            f"http-request redirect code 308 location https://%[req.hdr(host),host_only]{port}%[pathq] {unless}",
        ]
    if plan.tls.hsts:
        lines.append(f"http-response set-header Strict-Transport-Security max-age={plan.tls.hsts} if {{ ssl_fc }}")
    return "".join(f"  {line}\n" for line in lines)


def _sessions(plan: Plan) -> str:
    return f"""\
backend sessions
  # A notebook may compute for long before it answers.
  timeout server 1h
  http-request set-dst var(txn.address),field(1,:)
  http-request set-dst-port var(txn.address),field(2,:)
{_error_pages("session_down.html", plan)}
  server session 0.0.0.0:0
"""


def _control(plan: Plan) -> str:
    return f"""\
backend control
  # A connection of its own for each request: a kept one may be closed by the other side as it is used again.
  option http-server-close
{_error_pages("control_down.html", plan)}
  server control {quote("unix@" + plan.control_socket)}
"""


def _cors(plan: Plan) -> str:
    return f" hdr Access-Control-Allow-Origin {quote(plan.cors_allow_origin)}" if plan.cors_allow_origin else ""


def _preflight(plan: Plan) -> str:
    return (
        f"{_cors(plan)} hdr Access-Control-Allow-Methods {quote(PREFLIGHT_METHODS)}"
        f" hdr Access-Control-Allow-Headers {quote(PREFLIGHT_HEADERS)}"
    )


def _page(file: str, plan: Plan) -> str:
    return (
        f"content-type 'text/html; charset=utf-8' file {file} hdr Cache-Control no-store"
        f" hdr X-Content-Type-Options nosniff hdr Content-Security-Policy {quote(PAGE_POLICY)}{_cors(plan)}"
    )


def _error_pages(file: str, plan: Plan) -> str:
    return "\n".join(
        f"  http-error status {status} {_page(file, plan)} hdr Retry-After 5" for status in (502, 503, 504)
    )
