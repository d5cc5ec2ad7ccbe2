"""Settings of the repo providers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from binderlet.config.section import AbsolutePath, Section
from binderlet.config.units import Duration


class GitProviderSettings(Section):
    """The ``git`` repo provider: any git URL."""

    enabled: bool = Field(default=True, description="Whether /build/git/ works.")
    allowed_protocols: list[Literal["http", "https", "git", "ssh", "file"]] = Field(
        ["http", "https", "git", "ssh"], description="URL schemes that may be fetched. file reads this machine's disk."
    )
    local_folders: list[AbsolutePath] = Field(
        [],
        description="Folders of this machine, from / on, whose repositories may be launched although file is not "
        "allowed.",
    )
    timeout: Duration = Field(60.0, gt=0, description="How long one look-up of a ref may take.")
    fetch_timeout: Duration = Field(900.0, gt=0, description="How long one fetch may take.")
    ref_cache: Duration = Field(
        15.0, ge=0, description="How long an answer to 'which commit is this ref' is used again."
    )


class GitHubProviderSettings(Section):
    """The ``gh`` repo provider."""

    enabled: bool = Field(default=True, description="Whether /build/gh/ works.")
    hostname: str = Field("github.com", description="Host of the repositories; another for GitHub Enterprise.")
    base_url: str = Field("", description="Where repositories are cloned from. Empty: https:// and hostname.")
    api_url: str = Field("https://api.github.com", description="Base of the REST API.")
    resolve: Literal["git", "api"] = Field(
        "git",
        description="git: refs are read by 'git ls-remote', which has no quota. api: by the REST API, then git when "
        "its quota is used up.",
    )
    token: SecretStr = Field(SecretStr(""), description="Access token for the API.")


class ProviderSettings(Section):
    """The repo providers."""

    git: GitProviderSettings = GitProviderSettings()
    gh: GitHubProviderSettings = GitHubProviderSettings()
