"""Every setting, section by section, each with its default and its documentation.

``docs/reference/config.md`` and ``examples/binderlet.toml`` are tested against this file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from binderlet.config.backup import BackupSettings
from binderlet.config.bucket import BucketSettings
from binderlet.config.builder_pods import BuilderPodsSettings
from binderlet.config.disk import DiskSettings
from binderlet.config.egress import EgressSettings
from binderlet.config.federation import FederationSettings, SponsorSettings
from binderlet.config.https import HttpsSettings
from binderlet.config.kubernetes import KubernetesSettings
from binderlet.config.pair import PairSettings
from binderlet.config.providers import ProviderSettings
from binderlet.config.proxies import ProxySettings
from binderlet.config.registry import RegistrySettings
from binderlet.config.section import (
    AddressRange,
    HexadecimalSecret,
    RegularExpression,
    Section,
    SiteAddress,
    Subnet,
    WebAddress,
)
from binderlet.config.statistics import ArchiveSettings, StatisticsSettings
from binderlet.config.system import SystemSettings
from binderlet.config.units import ByteSize, Duration


class ServerSettings(Section):
    """Where visitors reach this service."""

    host: str = Field("0.0.0.0", description="Address HAProxy listens on.")  # noqa: S104 - a public service
    port: int = Field(8585, ge=1, le=65535, description="Port HAProxy listens on.")
    public_url: SiteAddress = Field(
        "",
        description="The URL visitors type, such as https://binder.example.org/; without a path. Empty: the address "
        "each request was made to.",
    )
    instance: str = Field(
        "binderlet",
        pattern=r"^[a-z][a-z0-9-]{0,30}$",
        description="Name of this service in the engine's labels; two control planes of one name refuse to run "
        "together.",
    )
    badge_base_url: WebAddress = Field(
        "",
        description="Base of badge links and launch host, for members of a federation. Empty: federation.url, else "
        "public_url.",
    )
    cors_allow_origin: str = Field("*", description="Access-Control-Allow-Origin of every answer; empty sends none.")
    grace_after_ready: Duration = Field(
        60.0, ge=0, description="How long a finished build's event stream stays open for the browser to close first."
    )
    shutdown_timeout: Duration = Field(
        10.0, gt=0, description="How long open requests may take when the service stops."
    )


class PathSettings(Section):
    """Where binderlet keeps its files."""

    state: Path = Field(
        Path(".binderlet"),
        description="Folder for history, build logs, mirrors, routes and sockets. Relative paths are relative to "
        "the working directory.",
    )


class EngineSettings(Section):
    """What runs the sessions."""

    kind: Literal["docker", "kubernetes", "fake"] = Field(
        "docker",
        description="docker: Docker or Podman by Docker's API. kubernetes: pods of a cluster; the container engine "
        "then only builds. fake: nothing runs, for trying things out.",
    )
    socket: str = Field(
        "",
        description="Path of the engine's socket. Empty: DOCKER_HOST, then Docker's, then Podman's usual places.",
    )
    network: str = Field("binderlet", description="Name of the sessions' bridge network; made if absent.")
    subnet: Subnet = Field("", description="Subnet of that network, such as 10.89.0.0/16. Empty: the engine chooses.")
    runtime: str = Field("", description="OCI runtime, such as runsc. Empty: the engine's default.")


class SessionSettings(Section):
    """What one session gets."""

    memory: ByteSize = Field(2 * 1024**3, ge=64 * 1024**2, description="Memory limit.")
    cpus: float = Field(1.0, gt=0, description="Cores it may use.")
    pids: int = Field(512, ge=32, description="Processes and threads it may have.")
    start_timeout: Duration = Field(120.0, gt=0, description="How long it may take to answer its first request.")
    start_concurrency: int = Field(
        0, ge=0, description="Sessions started at the same time; the others wait. 0: one and a half per core."
    )
    allow_origin: str = Field("*", description="Origins whose scripts may talk to sessions (thebe needs *).")
    environment: dict[str, str] = Field({}, description="Extra environment variables for every session.")


class CullOverride(Section):
    """Other times for some repositories; what is left out stays as it is for all."""

    pattern: RegularExpression = Field(
        description="Regular expression that matches 'provider/spec' from its start, whatever the case of letters."
    )
    idle: Duration | None = Field(None, gt=0, description="Instead of cull.idle.")
    max_age: Duration | None = Field(None, gt=0, description="Instead of cull.max_age.")


class CullSettings(Section):
    """When sessions end."""

    idle: Duration = Field(600.0, gt=0, description="End a session that nobody used for this long.")
    max_age: Duration = Field(21600.0, gt=0, description="End a session this old, used or not.")
    busy_max: Duration = Field(
        3600.0, ge=0, description="How long a cell or program that still runs keeps a session that nobody uses."
    )
    warning: Duration = Field(
        300.0,
        ge=0,
        description="How long before its end a session's open page says so, at most a quarter of its time. 0: never.",
    )
    overrides: list[CullOverride] = Field(
        [],
        description="Other times for some repositories; the first that matches counts: "
        '[{pattern = "gh/owner/.*", idle = "1h", max_age = "12h"}].',
    )
    every: Duration = Field(30.0, gt=0, description="How often sessions are looked at.")
    reconcile_every: Duration = Field(
        60.0, gt=0, description="How often sessions and routes are compared with the engine."
    )


class HibernateSettings(Section):
    """When quiet sessions are pushed out to swap, so that many more fit; their next request brings them back."""

    enabled: bool = Field(default=True, description="Whether it is done at all. Without swap nothing happens.")
    after: Duration = Field(120.0, gt=0, description="How long nobody must have used a session.")
    every: Duration = Field(10.0, gt=0, description="How often memory is looked at.")


class StandbySettings(Section):
    """Sessions started ahead of their launches: a launch that finds one is ready in a tenth of a second."""

    enabled: bool = Field(
        default=True, description="Whether sessions are started ahead for images that were launched a while ago."
    )
    share: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Share of the places, and of memory, that standbys may take. Reservations may take more.",
    )
    per_image: int = Field(5, ge=1, description="Standbys of one image at most, reservations aside.")
    half_life: Duration = Field(
        3600.0, gt=0, description="A launch counts half after this time; below half a launch, an image has no standby."
    )
    cover: Duration = Field(
        300.0, gt=0, description="As many standbys are wanted as launches come in this time at the present rate."
    )
    every: Duration = Field(5.0, ge=0, description="Least time between two starts of standbys.")
    max_age: Duration = Field(7200.0, gt=0, description="A standby this old is replaced.")
    lead: Duration = Field(900.0, ge=0, description="How long before a reservation begins its standbys are started.")
    floor: float = Field(
        0.25,
        ge=0,
        le=1,
        description="Share of memory, and of swap where there is any, that must be free for a standby to be started; "
        "below half of it, standbys are ended.",
    )
    cpu: float = Field(0.5, gt=0, le=1, description="Standbys are started only while less of the CPU is busy.")


class LimitSettings(Section):
    """How many sessions may run."""

    sessions: int = Field(0, ge=0, description="Sessions at once. 0: what this machine's memory, swap and cores hold.")
    per_repository: int = Field(100, ge=0, description="Sessions at once of one repository. 0: no limit.")
    queue: int = Field(200, ge=0, description="Launches that may wait for a place; more are refused.")
    queue_timeout: Duration = Field(
        900.0, gt=0, description="How long a launch waits for a place before it is refused."
    )
    launches_per_hour: int = Field(
        0, ge=0, description="Launches per client address and hour without a valid build token. 0: no limit."
    )
    banned_specs: list[RegularExpression] = Field(
        [], description="Regular expressions; a spec 'provider/spec' that one matches from its start is refused."
    )
    banned_networks: dict[AddressRange, str] = Field(
        {},
        description="Addresses or subnets that may not launch, each with what to call them: "
        '{"203.0.113.0/24" = "a crawler"}.',
    )


class BuilderSettings(Section):
    """How images are built."""

    concurrent: int = Field(2, ge=1, description="Builds at the same time; the others wait in a fair queue.")
    timeout: Duration = Field(3600.0, gt=0, description="Deadline of one build.")
    memory: ByteSize = Field(
        4 * 1024**3, ge=128 * 1024**2, description="Memory limit of each build step, where the build tool can limit it."
    )
    group_memory: ByteSize = Field(
        0,
        ge=0,
        description="Memory limit of all build steps together, where Docker's BuildKit runs them and this process may "
        "set it. 0: half of the machine's memory.",
    )
    group_processes: int = Field(
        4096,
        ge=64,
        description="Processes and threads of all build steps together, under the same conditions; one step may have "
        "half of them at most.",
    )
    group_weight: int = Field(
        50,
        ge=1,
        le=10000,
        description="What all build steps together get of the CPU beside 100 for each session, while both want it.",
    )
    disk_limit: ByteSize = Field(
        20 * 1024**3,
        ge=0,
        description="Disk that one build step may fill before its build is ended, under the same conditions. 0: all.",
    )
    log_limit: ByteSize = Field(
        16 * 1024**2, ge=65536, description="Bytes of one build's log that are kept; the rest is counted and dropped."
    )
    repository_limit: ByteSize = Field(4 * 1024**3, gt=0, description="Largest checkout that is built.")
    min_free_disk: ByteSize = Field(5 * 1024**3, ge=0, description="Free disk below which builds are refused.")
    failure_memory: Duration = Field(
        60.0, ge=0, description="How long a failed build is answered from memory instead of tried again."
    )
    index_age: Duration = Field(
        600.0,
        ge=0,
        description="How old what builds know of the package index may be; PyPI itself says ten minutes, and this is "
        "for indexes that say nothing. 0: what the index says.",
    )
    bytecode: bool = Field(
        default=True,
        description="Compile new Python packages in the shared cache after builds, so that later images have their "
        "bytecode without compiling.",
    )
    shared_layers: bool = Field(
        default=True,
        description="Give large Python packages that an environment has layers of their own, after its build, on which "
        "later environments stand: these are built sooner and take less disk.",
    )
    image_prefix: str = Field(
        "binderlet/i-", description="First part of image names; the rest follows BinderHub's rule."
    )
    base_image: str = Field(
        "", description="Image to build on instead of the one binderlet makes; must have the same layout."
    )
    base_max_age: Duration = Field(
        14 * 86400.0,
        ge=0,
        description="Age at which the base image is made anew in the background, for Debian's security updates; "
        "sessions and environments on the old one go on. 0: never.",
    )
    base_suite: str = Field("bookworm", description="Debian release of the base image: bookworm or trixie.")
    base_mirror: str = Field(
        "",
        description="Debian mirror for the base image and apt.txt; a second one that ends in -security, after a "
        "space, is for security updates. Empty: Debian's own, or this machine's where it is Debian too.",
    )
    python_mirror: str = Field(
        "",
        description="Where Pythons other than the base image's own come from: an address that has what GitHub has "
        "below astral-sh/python-build-standalone/releases/download. Empty: UV_PYTHON_INSTALL_MIRROR, then GitHub.",
    )
    python_list: str = Field(
        "",
        description="Address of the list of these Pythons, in uv's form. Empty: UV_PYTHON_DOWNLOADS_JSON_URL, then the "
        "list that uv brings along.",
    )
    fallback: bool = Field(
        default=True, description="Whether repo2docker builds what the own builder does not know: R, Julia, Nix."
    )
    fallback_base: str = Field(
        "", description="Image that repo2docker builds on. Empty: its own choice, which comes from Docker Hub."
    )
    exclude_newer: str = Field(
        "",
        pattern=r"^(\d{4}-\d{2}-\d{2})?$",
        description="Day, such as 2024-06-30: packages that repositories ask for are not newer, unless their "
        "runtime.txt has a date of its own. Empty: today's.",
    )
    conda_channels: list[str] = Field(
        ["conda-forge"], description="Channels, names or addresses, where an environment.yml names none."
    )
    conda_cache: ByteSize = Field(
        10 * 1024**3, ge=0, description="Disk for downloaded conda packages; those not used for longest go first."
    )
    jupyterlab: str = Field("4.4.9", description="JupyterLab version in the base image.")
    notebook: str = Field("7.4.7", description="Notebook version in the base image.")


class NetworkSettings(Section):
    """How builds and sessions reach the network. What is empty is taken from this machine's own settings."""

    http_proxy: str = Field("", description="Proxy for http. Empty: HTTP_PROXY.")
    https_proxy: str = Field("", description="Proxy for https. Empty: HTTPS_PROXY.")
    no_proxy: str = Field("", description="Hosts reached without a proxy. Empty: NO_PROXY.")
    ca_bundle: str = Field(
        "", description="PEM file of the certificates to trust. Empty: SSL_CERT_FILE, then the system's bundle."
    )
    index_url: str = Field("", description="Python package index. Empty: UV_INDEX_URL, PIP_INDEX_URL, then PyPI.")
    extra_index_urls: list[str] = Field(
        [], description="More package indexes. Empty: UV_EXTRA_INDEX_URL or PIP_EXTRA_INDEX_URL."
    )
    conda_mirror: str = Field(
        "",
        description="Address that names of conda channels are put behind, such as https://mirror.example/conda; may "
        "hold a password or token. Empty: CONDA_CHANNEL_ALIAS, then conda's own.",
    )


class PageSettings(Section):
    """What the pages say."""

    title: str = Field("binderlet", description="Name of this service.")
    about: str = Field("", description="HTML shown on the about page.")
    banner: str = Field("", description="HTML shown on top of every page.")


class SecuritySettings(Section):
    """Secrets and tokens."""

    build_token_secret: HexadecimalSecret = Field(
        SecretStr(""),
        description="Hexadecimal secret that signs build tokens; members of a federation share it. Empty: made once "
        "and kept in the state folder.",
    )


class EventSettings(Section):
    """What is recorded."""

    archive: bool = Field(default=True, description="Write launch events (version 6) as daily JSON lines.")
    history: Duration = Field(90 * 86400.0, gt=0, description="How long launches stay in the history database.")


class LogSettings(Section):
    """What the service prints."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severe lines printed.")
    format: Literal["auto", "text", "json"] = Field("auto", description="auto: text on a terminal, json elsewhere.")


class Settings(Section):
    """All settings of one service."""

    server: ServerSettings = ServerSettings()
    https: HttpsSettings = HttpsSettings()
    proxies: ProxySettings = ProxySettings()
    paths: PathSettings = PathSettings()
    engine: EngineSettings = EngineSettings()
    kubernetes: KubernetesSettings = KubernetesSettings()
    pair: PairSettings = PairSettings()
    session: SessionSettings = SessionSettings()
    cull: CullSettings = CullSettings()
    hibernate: HibernateSettings = HibernateSettings()
    standby: StandbySettings = StandbySettings()
    limits: LimitSettings = LimitSettings()
    builder: BuilderSettings = BuilderSettings()
    builder_pods: BuilderPodsSettings = BuilderPodsSettings()
    disk: DiskSettings = DiskSettings()
    network: NetworkSettings = NetworkSettings()
    egress: EgressSettings = EgressSettings()
    registry: RegistrySettings = RegistrySettings()
    bucket: BucketSettings = BucketSettings()
    providers: ProviderSettings = ProviderSettings()
    pages: PageSettings = PageSettings()
    sponsor: SponsorSettings = SponsorSettings()
    federation: FederationSettings = FederationSettings()
    security: SecuritySettings = SecuritySettings()
    events: EventSettings = EventSettings()
    archive: ArchiveSettings = ArchiveSettings()
    statistics: StatisticsSettings = StatisticsSettings()
    backup: BackupSettings = BackupSettings()
    log: LogSettings = LogSettings()
    system: SystemSettings = SystemSettings()

    @property
    def launch_host(self) -> str:
        """The base of badges and links where it is not this service's own address, with trailing slash; or empty."""
        return self.server.badge_base_url or self.federation.url
