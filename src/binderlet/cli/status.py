"""``binderlet status``: how the running service is."""

from __future__ import annotations

from typing import Any

import typer

from binderlet.cli.options import AsJson, ConfigFile, SetKeys, read_settings


def status(*, as_json: AsJson = False, config: ConfigFile = None, keys: SetKeys = None) -> None:
    """Show how the running service is; the exit code is 1 when it is not well."""
    import json

    from binderlet.cli.ask import ask

    found = ask(read_settings(config, keys).settings, "GET", "/status")
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        typer.echo("\n".join(describe(found)))
    if not found["ok"]:
        raise typer.Exit(1)


def describe(status: dict[str, Any]) -> list[str]:
    """Say it in lines."""
    from binderlet.cli.sessions import ago

    state = "stopping" if status["draining"] else "well" if status["ok"] else "not well"
    limit = f" of {status['session_limit']}" if status["session_limit"] else ""
    standbys = f", {status['standbys']} on standby" if status.get("standbys") else ""
    lines = [
        f"binderlet {status.get('version', '')} is {state}, up {ago(status['uptime_seconds'])}",
        f"sessions: {status['sessions']}{limit}, {status['launches_waiting']} launches wait{standbys}",
        *_memory(status),
        f"builds:   {status['builds_running']} run, {status['builds_waiting']} wait",
    ]
    if status.get("reservations"):
        from binderlet.cli.reserve import describe as describe_reservation

        lines += [f"reserved: {describe_reservation(one)}" for one in status["reservations"]]
    for check in status["checks"]:
        mark = "ok" if check["ok"] else "warn" if check.get("_ignore_failure") else "FAIL"
        lines.append(f"{mark:4} {check['service']}: {check.get('message', 'answers')}")
    return lines


def _memory(status: dict[str, Any]) -> list[str]:
    """Say what is left, where the service tells."""
    if not status.get("memory"):
        return []
    left = f"{_gigabytes(status['memory_available'])} of {_gigabytes(status['memory'])} GB memory"
    swap = f"{_gigabytes(status['swap_free'])} of {_gigabytes(status['swap'])} GB swap" if status["swap"] else "no swap"
    why = f" (paused: {status['hibernation_off']})" if status["hibernation_off"] else ""
    return [f"          {status['hibernated']} hibernated{why}, {status['free']} free", f"left:     {left}, {swap}"]


def _gigabytes(size: int) -> str:
    return f"{size / 1024**3:.1f}"
