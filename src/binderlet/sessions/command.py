"""What a session runs: the Jupyter command, its arguments and its environment. Pure.

The token goes through the environment, so that ``ps`` on the machine does not show it. Old servers read their
arguments under ``NotebookApp``, new ones under ``ServerApp``: an unknown server gets both, as with BinderHub.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, replace

from binderlet.config.schema import Settings
from binderlet.model import Limits, SessionSpec
from binderlet.sessions.ids import new_session_id, new_token
from binderlet.sessions.order import SessionOrder

PORT = 8888
FAST_LAUNCHER = "/usr/local/lib/binderlet/lab.py"
"""Where the base image has what starts its own JupyterLab faster."""
# A shell looks along PATH in a millisecond, where BinderHub's Python one-liner takes 50.
CHOOSE_SERVER = f"""\
if [ -f {FAST_LAUNCHER} ] && [ "$(command -v jupyter-lab)" = "$NB_PYTHON_PREFIX/bin/jupyter-lab" ]; then
  exec "$NB_PYTHON_PREFIX/bin/python" {FAST_LAUNCHER} "$@"
fi
for argument in "$@"; do
  case "$argument" in --ServerApp.*) set -- "$@" "--NotebookApp.${{argument#--ServerApp.}}" ;; esac
done
for server in jupyter-lab jupyter-notebook jupyter-server; do
  if command -v "$server" >/dev/null 2>&1; then exec "$server" "$@"; fi
done
echo "There is no Jupyter server on PATH in this image. Install jupyterlab or notebook in it." >&2
exit 127
"""


def session_spec(
    order: SessionOrder,
    settings: Settings,
    *,
    now: float,
    environment: Mapping[str, str] | None = None,
    standby: str = "",
) -> SessionSpec:
    """Make a complete session from an order, with a new id and token; ``environment`` is added for every session.

    ``standby`` is the key of one that is started ahead: it also waits for its launch as long as standbys may.
    """
    patience = settings.standby.max_age if standby else 0.0
    session_id, token = new_session_id(order.commit.repo_url), new_token()
    return SessionSpec(
        id=session_id,
        token=token,
        image=order.image,
        command=jupyter_command(session_id, settings, patience=patience),
        environment={
            **(environment or {}),
            **settings.session.environment,
            **limit_variables(settings),
            **binder_variables(order, settings.launch_host),
            "JUPYTER_TOKEN": token,
        },
        limits=Limits(settings.session.memory, settings.session.cpus, settings.session.pids),
        launch_id=order.launch_id,
        provider=order.spec.provider,
        spec=order.spec.spec,
        repo_url=order.commit.repo_url,
        created_at=now,
        port=PORT,
        standby=standby,
    )


def standby_key(order: SessionOrder, settings: Settings, environment: Mapping[str, str] | None = None) -> str:
    """Give what a standby and the launch that adopts it have in common: all but id, token and visitor's address.

    What cannot be changed in a session that runs, such as its environment, is thus never wrong after an adoption.
    """
    spec = session_spec(replace(order, client=""), settings, now=0, environment=environment)
    common = [
        order.image_id,
        spec.image,
        jupyter_command("", settings, patience=settings.standby.max_age),
        {name: value for name, value in spec.environment.items() if name != "JUPYTER_TOKEN"},
        asdict(spec.limits),
        spec.repo_url,
        spec.port,
    ]
    return hashlib.sha256(json.dumps(common, sort_keys=True).encode()).hexdigest()[:32]


def base_path(session_id: str) -> str:
    """Give the path that a session serves, with slashes at both ends."""
    return f"/user/{session_id}/"


def jupyter_command(session_id: str, settings: Settings, *, patience: float = 0.0) -> tuple[str, ...]:
    """Give the program and arguments that start JupyterLab, or else the notebook server, in any image that has one.

    It ends itself when nobody used it for ``cull.max_age`` and ``patience`` seconds, even if nobody looks after it.
    """
    idle = int(settings.cull.max_age)
    options = {
        "ip": "0.0.0.0",  # noqa: S104 - inside the session's own network
        "port": str(PORT),
        "port_retries": "0",
        "base_url": base_path(session_id),
        "open_browser": "False",
        "allow_remote_access": "True",
        "trust_xheaders": "True",
        "shutdown_no_activity_timeout": str(idle + int(patience)),
        **origin_options(settings.session.allow_origin),
    }
    arguments = [f"--ServerApp.{name}={value}" for name, value in options.items()]
    culling = [
        f"--MappingKernelManager.cull_idle_timeout={idle}",
        "--MappingKernelManager.cull_interval=60",
        "--MappingKernelManager.cull_connected=True",
    ]
    return ("sh", "-c", CHOOSE_SERVER, "sh", *arguments, *culling)


def origin_options(allowed: str) -> dict[str, str]:
    """Give the options for origins whose scripts may talk to the session: none, ``*``, one, or several with commas."""
    origins = re.split(r"[\s,]+", allowed.strip()) if allowed.strip() else []
    if not origins:
        return {}
    if len(origins) == 1:
        return {"allow_origin": origins[0]}
    return {"allow_origin_pat": "^(" + "|".join(re.escape(origin) for origin in origins) + ")$"}


def limit_variables(settings: Settings) -> dict[str, str]:
    """Tell the session its limits under the names that JupyterHub uses, for meters such as jupyter-resource-usage."""
    return {"MEM_LIMIT": str(settings.session.memory), "CPU_LIMIT": f"{settings.session.cpus:g}"}


def binder_variables(order: SessionOrder, launch_host: str = "") -> dict[str, str]:
    """Tell the session where it comes from, under BinderHub's names."""
    provider, commit = order.spec.provider, order.commit
    variables = {
        "BINDER_LAUNCH_HOST": launch_host or order.host,
        "BINDER_REPO_URL": commit.repo_url,
        "BINDER_REF_URL": commit.ref_url,
        "BINDER_REQUEST": f"v2/{provider}/{order.spec.spec}",
        "BINDER_PERSISTENT_REQUEST": f"v2/{provider}/{commit.resolved_spec}",
    }
    if order.client:
        variables["BINDER_CLIENT_IP"] = order.client
    return variables
