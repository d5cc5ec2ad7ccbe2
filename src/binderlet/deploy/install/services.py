"""The systemd units of the installed service: who runs as whom, in which slice, and what each may. Pure text.

``binderlet.slice`` holds what serves, with memory that nothing else can take; below it are the slices of sessions and
builds, which have no such protection and share the CPU by weight.
"""

from __future__ import annotations

from dataclasses import dataclass

from binderlet.deploy.install.wanted import BINDERLET, CONFIG, CURRENT, HOME, STATE

MARK = "# Written by 'binderlet install'; changes are lost with the next one.\n"
USER = "binderlet"
SESSIONS_SLICE = "binderlet-sessions.slice"
SOCKETS = "/run/binderlet"
JOBS, HELPER = f"{SOCKETS}/job.sock", f"{SOCKETS}/helper.sock"
PYTHON = f"{CURRENT}/bin/python -I"

HARDENED = """\
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateDevices=yes
ProtectControlGroups=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectClock=yes
ProtectHostname=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native"""

ROOTS = """\
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectClock=yes
RestrictRealtime=yes
LockPersonality=yes
SystemCallArchitectures=native"""
"""Of what writes to control groups and makes the Debian part of base images, which takes mounts and device files."""

ELSEWHERE = "ReadWritePaths=-/var/backups -/var/www -/srv -/mnt -/media"
"""Where operators put backups and copies of archives; the files' own permissions say who may write there."""

SLICE = f"""{MARK}
[Unit]
Description=binderlet: what serves, and below it sessions and builds

[Slice]
# The sum of what its services keep whatever the sessions do.
MemoryMin=448M
CPUWeight=500
IOWeight=500
"""

SESSIONS = f"""{MARK}
[Unit]
Description=binderlet's sessions

[Slice]
CPUWeight=300
IOWeight=100
"""

BUILDS = f"""{MARK}
[Unit]
Description=binderlet's builds

[Slice]
CPUWeight=50
IOWeight=50
MemoryMax=50%
"""


@dataclass(frozen=True, slots=True)
class Services:
    """The units of one machine."""

    engine_group: str
    """Whose members may use the engine's socket; empty where only root may, and the control plane then is root."""
    registry: bool = False
    """Whether images are kept in object storage."""

    @property
    def user(self) -> str:
        """Who runs the control plane."""
        return USER if self.engine_group else "root"

    @property
    def folders(self) -> str:
        """For systemd-tmpfiles: what must be there before any unit starts."""
        user = self.user
        # Others of the group, which HAProxy is, may make their sockets in run, but not replace our files.
        return (
            f"{MARK}d {STATE} 0750 {user} {USER}\nd {STATE}/run 1770 {user} {USER}\n"
            f"d {STATE}/scratch 0700 {user} {USER}\nd {STATE}/registry 0700 {user} {USER}\n"
        )

    @property
    def control_plane(self) -> str:
        """The service itself."""
        others = ["binderlet-haproxy.service", *(["binderlet-registry.service"] if self.registry else [])]
        sockets = ["binderlet-job.socket", *(["binderlet-helper.socket"] if self.engine_group else [])]
        before = " ".join([*others, *sockets])
        return f"""{MARK}
[Unit]
Description=binderlet: repositories as live Jupyter sessions
Documentation=file:{HOME}/current
After=network-online.target docker.service podman.socket binderlet-swap.service {before}
Wants=network-online.target {before}
# A mirror or an engine that is away for an hour must not need a person afterwards.
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart={BINDERLET} up --config {CONFIG}
{self._identity}
{self._environment}
StateDirectory=binderlet
StateDirectoryMode=0750
WorkingDirectory={STATE}
# USR1 ends the control plane alone: sessions and builds go on, and the next start takes them over.
KillSignal=SIGUSR1
KillMode=process
SendSIGKILL=no
TimeoutStopSec=60
Restart=on-failure
RestartSec=2
# Wrong settings do not become right by trying again.
RestartPreventExitStatus=2
Slice=binderlet.slice
MemoryMin=256M
CPUWeight=1000
IOWeight=1000
OOMScoreAdjust=-500
LimitNOFILE=1048576
{self._rights}
{ELSEWHERE}
UMask=0022

[Install]
WantedBy=multi-user.target
"""

    @property
    def haproxy(self) -> str:
        """The data path: it starts before the control plane and goes on without it."""
        first = f"setpriv --reuid={self.user} --regid={USER} --clear-groups {BINDERLET} first-files --config {CONFIG}"
        return f"""{MARK}
[Unit]
Description=binderlet's data path: HAProxy
Documentation=man:haproxy(1)
After=network-online.target
Wants=network-online.target
Before=binderlet.service
StartLimitIntervalSec=0

[Service]
Type=notify
User=haproxy
Group={USER}
WorkingDirectory={STATE}/run
Environment=BINDERLET_SYSTEM__HAPROXY=true
# Only where no control plane has written them yet.
ExecStartPre=+/bin/sh -c 'test -s haproxy.cfg || exec {first}'
ExecStart=/usr/sbin/haproxy -Ws -S unix@master.sock,mode,660 -f {STATE}/run/haproxy.cfg
ExecReload=/bin/kill -USR2 $MAINPID
KillMode=mixed
TimeoutStopSec=10
SuccessExitStatus=143
Restart=always
RestartSec=1
Slice=binderlet.slice
MemoryMin=64M
CPUWeight=1000
IOWeight=1000
OOMScoreAdjust=-900
LimitNOFILE=1048576
# Ports 80 and 443 without being root.
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
{HARDENED}
PrivateTmp=yes
# Of the service's folder it sees its own part alone.
TemporaryFileSystem={STATE}:ro
BindPaths={STATE}/run
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
UMask=0027

[Install]
WantedBy=multi-user.target
"""

    @property
    def registry_unit(self) -> str:
        """The registry on object storage."""
        folder = f"{STATE}/registry"
        first = f"{BINDERLET} first-files --registry --config {CONFIG}"
        return f"""{MARK}
[Unit]
Description=binderlet's image registry on object storage
After=network-online.target
Wants=network-online.target
Before=binderlet.service
StartLimitIntervalSec=0

[Service]
Type=exec
User={self.user}
Group={USER}
WorkingDirectory={folder}
Environment=BINDERLET_SYSTEM__REGISTRY=true OTEL_TRACES_EXPORTER=none
EnvironmentFile=-{folder}/environment
ExecStartPre=/bin/sh -c 'rm -f registry.sock; test -s registry.json || exec {first}'
# Its log is read for what the storage says.
ExecStart=/bin/sh -c 'exec /usr/bin/docker-registry serve registry.json >>registry.log 2>&1'
TimeoutStopSec=10
Restart=always
RestartSec=1
Slice=binderlet.slice
MemoryMin=64M
OOMScoreAdjust=-300
CapabilityBoundingSet=
{HARDENED}
PrivateTmp=yes
ReadWritePaths={folder}
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
UMask=0077

[Install]
WantedBy=multi-user.target
"""

    @property
    def job(self) -> str:
        """One build: systemd starts it for a connection to the socket, so it is nobody's child and has a group."""
        return f"""{MARK}
[Unit]
Description=binderlet's build %i
CollectMode=inactive-or-failed

[Service]
Type=exec
ExecStart={PYTHON} -m binderlet.builder.asked {STATE}
StandardInput=socket
StandardOutput=journal
StandardError=journal
{self._identity}
WorkingDirectory={STATE}
TimeoutStopSec=10
SuccessExitStatus=143
Slice=binderlet-builds.slice
OOMScoreAdjust=500
LimitNOFILE=1048576
{self._rights}
ReadWritePaths={STATE}
UMask=0022
"""

    @property
    def job_socket(self) -> str:
        """Where the control plane asks for builds."""
        return _socket("builds", JOBS, self.user, "Accept=yes\nMaxConnections=256")

    @property
    def helper_socket(self) -> str:
        """Where it asks root for the few things that it may not do."""
        return _socket("root helper", HELPER, self.user, "Backlog=128")

    @property
    def helper(self) -> str:
        """The only part that is root."""
        return f"""{MARK}
[Unit]
Description=binderlet's root helper
Requires=binderlet-helper.socket
After=binderlet-helper.socket

[Service]
Type=exec
ExecStart={PYTHON} -m binderlet.deploy.helper.server
# It ends when what it was asked for is done; its socket starts the next one.
ExecReload=/bin/kill -USR1 $MAINPID
Slice=binderlet.slice
MemoryMin=32M
OOMScoreAdjust=-500
{ROOTS}
UMask=0022
"""

    @property
    def backup(self) -> str:
        """Makes a backup where one is due."""
        return f"""{MARK}
[Unit]
Description=A backup of binderlet, where one is due
After=network-online.target

[Service]
Type=oneshot
ExecStart={BINDERLET} backup --if-due --config {CONFIG}
User={self.user}
Group={USER}
Environment=HOME={STATE} TMPDIR={STATE}/scratch
Slice=binderlet.slice
CPUWeight=20
IOSchedulingClass=idle
Nice=10
CapabilityBoundingSet=
{HARDENED}
ReadWritePaths={STATE}
{ELSEWHERE}
"""

    @property
    def _rights(self) -> str:
        if self.engine_group:
            return f"CapabilityBoundingSet=\n{HARDENED}"
        # Only root may use this engine's socket. What outlives it may use its folder for temporary files.
        return ROOTS.replace("PrivateTmp=yes\n", "")

    @property
    def _identity(self) -> str:
        group = f"\nSupplementaryGroups={self.engine_group}" if self.engine_group else ""
        return f"User={self.user}\nGroup={USER}{group}"

    @property
    def _environment(self) -> str:
        found = {
            "SESSIONS_SLICE": SESSIONS_SLICE,
            "HAPROXY": "true",
            "BACKUPS": "true",
            "JOBS": JOBS,
            **({"REGISTRY": "true"} if self.registry else {}),
            **({"HELPER": HELPER} if self.engine_group else {}),
        }
        words = [f"HOME={STATE}", f"TMPDIR={STATE}/scratch"]
        words += [f"BINDERLET_SYSTEM__{name}={value}" for name, value in found.items()]
        return "\n".join(f"Environment={word}" for word in words)


BACKUP_TIMER = f"""{MARK}
[Unit]
Description=Looks every hour whether a backup of binderlet is due

[Timer]
OnCalendar=hourly
RandomizedDelaySec=10min
Persistent=true

[Install]
WantedBy=timers.target
"""


def _socket(what: str, path: str, user: str, more: str) -> str:
    return f"""{MARK}
[Unit]
Description=binderlet's {what}: the socket

[Socket]
ListenStream={path}
SocketUser={user}
SocketMode=0600
DirectoryMode=0755
RemoveOnStop=yes
{more}

[Install]
WantedBy=sockets.target
"""
