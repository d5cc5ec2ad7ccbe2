"""The ``binderlet`` command: one file per subcommand; errors become one sentence and a hint.

Imports inside commands are on purpose: ``binderlet --help`` and shell completion load none of the service.

Exit codes: 0 done; 1 it failed; 2 wrong command line or settings; 3 something does not answer, such as the
service; 4 refused for now; 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from binderlet.cli import (
    backup,
    base_images,
    build,
    builder_image,
    check,
    config,
    deploy,
    doctor,
    extend,
    federation,
    first_files,
    images,
    images_restore,
    install,
    k3s,
    launch,
    lock,
    migrate,
    note,
    plan,
    reserve,
    restore,
    sessions,
    stats,
    status,
    stop,
    stop_service,
    swap,
    up,
    version,
)
from binderlet.cli.report import report as write_report
from binderlet.errors import BinderletError, ConfigError, Refused, Unavailable

FAILED, USAGE, UNAVAILABLE, REFUSED, INTERRUPTED = 1, 2, 3, 4, 130

app = typer.Typer(
    name="binderlet",
    help="A Binder on one machine: a git repository goes in, a link to a running JupyterLab comes out.",
    no_args_is_help=True,
    rich_markup_mode=None,  # Rich is loaded where something is drawn, not for the help
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("up")(up.up)
app.command("launch")(launch.launch)
app.command("build", short_help="Build a repository's image, without a session.")(build.build)
app.command("reserve", short_help="Keep sessions of a repository ready for an event.")(reserve.reserve)
app.command("lock", short_help="Print the exact packages of a repository's image.")(lock.lock)
app.command("sessions")(sessions.sessions)
app.command("stop")(stop.stop)
app.command("extend", short_help="Let sessions stay for longer.")(extend.extend)
app.command("status", short_help="Show how the running service is.")(status.status)
app.command("stop-service")(stop_service.stop_service)
app.command("doctor", short_help="Check this machine, and say how to mend what is wrong.")(doctor.doctor)
app.command("backup", short_help="Make an encrypted copy of history, settings and secrets.")(backup.backup)
app.command("restore", short_help="Put a backup into an empty state folder.")(restore.restore)
app.command("migrate", short_help="Make the databases fit this program.")(migrate.migrate)
app.add_typer(base_images.app, name="base")
app.command("builder-image", short_help="Make the image of pods that build in a cluster.")(builder_image.builder_image)
app.add_typer(config.app, name="config")
app.add_typer(federation.app, name="federation", short_help="Several Binders under one name.")
app.add_typer(k3s.app, name="k3s", short_help="Set up K3s, and check a cluster.")
images.app.command("restore")(images_restore.restore)
app.add_typer(images.app, name="images")
app.add_typer(swap.app, name="swap", short_help="Set up swap, so that quiet sessions need no memory.")
app.command("check", short_help="Launch the example at the running service: proof that launches work.")(check.check)
app.command("install", short_help="Make this machine a public Binder.")(install.install)
app.command("deploy", short_help="Do the same on another machine over ssh.")(deploy.deploy)
app.command("cloud-init", short_help="Print user-data for a new machine.")(deploy.cloud_init)
app.command("upgrade", short_help="Replace the installed release while sessions go on.")(install.upgrade)
app.command("uninstall", short_help="Take back all that 'install' did.")(install.uninstall)
app.command("first-files", hidden=True)(first_files.first_files)
app.add_typer(stats.app, name="stats", short_help="Count launches: import archives, show and draw them.")
app.command("plan", short_help="Plan a load: what carries it, and what that costs.")(plan.plan)
app.command("report", short_help="Write one page about a time of service.")(write_report)
app.command("note", short_help="Log an intervention or an incident, for the report.")(note.note)
app.command("version")(version.version)


def run(arguments: Sequence[str] | None = None) -> None:
    """Run one command and end this process with its exit code; Typer sees to Ctrl-C and to readers that went away."""
    try:
        app(args=arguments, prog_name="binderlet")
    except BinderletError as error:
        sys.exit(report(error))
    except BaseExceptionGroup as group:
        ours, others = group.split(BinderletError)
        if ours is None or others is not None:
            raise
        sys.exit(max(report(error) for error in leaves(ours)))


def report(error: BinderletError) -> int:
    """Print what happened and what to do next to standard error, and give the exit code."""
    first, *more = error.message.splitlines() or [error.code]
    lines = [f"error: {first}", *(f"  {line}" for line in more), f"  hint: {error.hint}"]
    sys.stderr.write("\n".join(lines) + "\n")
    return exit_code(error)


def exit_code(error: BinderletError) -> int:
    """Give the exit code for an error."""
    for kind, code in ((ConfigError, USAGE), (Unavailable, UNAVAILABLE), (Refused, REFUSED)):
        if isinstance(error, kind):
            return code
    return FAILED


def leaves(group: BaseExceptionGroup[BinderletError]) -> list[BinderletError]:
    """Give the errors inside a group, however deep."""
    found: list[BinderletError] = []
    for error in group.exceptions:
        found += leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
