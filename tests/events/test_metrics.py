"""Metrics: BinderHub's names and meanings, bounded labels, a page that costs nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from binderlet.events.kinds import Fact
from binderlet.events.metrics import Metrics
from binderlet.model import Check, ServiceStatus
from support.facts import (
    BUILD_ENDED,
    BUILD_STARTED,
    LAUNCH_ENDED,
    LAUNCH_STARTED,
    SESSION_ENDED,
    SESSION_STARTED,
)
from support.values import COMMIT

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"
STATUS = ServiceStatus(3, 50, 2, 1, 4, False, 1000.0, (Check("Docker", True), Check("HAProxy", False)))
REPO = COMMIT.repo_url
OF_OTHER_PARTS = ("certificate_not_after_seconds",)
"""Gauges that the composition adds."""


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """Give one sample."""
    return metrics.registry.get_sample_value(name, labels)


def told(*facts: Fact, repositories: int = 1000) -> Metrics:
    """Give metrics that heard facts."""
    metrics = Metrics(lambda: STATUS, provider_names={"gh": "GitHub"}, repositories=repositories)
    for fact in facts:
        metrics.listen(fact)
    return metrics


def test_launches_are_counted_as_by_binderhub() -> None:
    """A launch counts by status, provider and repository; its time runs from the image to the answer."""
    metrics = told(LAUNCH_STARTED, LAUNCH_ENDED)
    assert value(metrics, "binderhub_launch_count_total", status="success", provider="GitHub", repo=REPO) == 1
    assert value(metrics, "binderhub_launch_time_seconds_sum", status="success", retries="0") == 2.5
    assert value(metrics, "binderlet_launch_seconds_sum", status="success", built="true") == 5
    assert value(metrics, "binderlet_launch_step_seconds_sum", step="resolve") == 0.1


@pytest.mark.parametrize(
    ("change", "status", "counted", "timed"),
    [
        ({"status": "failure", "code": "session_died"}, "failure", 1, 1),
        ({"status": "pod_quota", "phase_seconds": {"queue": 9.0}}, "pod_quota", 1, None),
        ({"status": "repo_quota", "phase_seconds": {}}, "repo_quota", 1, None),
        ({"status": "failure", "code": "build_failed", "phase_seconds": {"build": 9.0}}, "failure", None, None),
        ({"status": "failure", "code": "ref_not_found", "commit": None, "phase_seconds": {}}, "failure", None, None),
        ({"build_only": True}, "success", None, None),
    ],
)
def test_only_launches_with_an_image_count_for_binderhub(
    change: dict[str, Any], status: str, counted: int | None, timed: int | None
) -> None:
    """Failed builds and look-ups are no launches there; refusals count, but have no time."""
    metrics = told(replace(LAUNCH_ENDED, **change))
    labels = {"provider": "GitHub", "repo": REPO}
    assert value(metrics, "binderhub_launch_count_total", status=status, **labels) == counted
    retries = "0" if status == "success" else "-1"
    assert value(metrics, "binderhub_launch_time_seconds_count", status=status, retries=retries) == timed
    if status != "success":
        code = str(change.get("code", status))
        assert value(metrics, "binderlet_launch_failures_total", code=code) == 1


def test_builds_are_counted_as_by_binderhub() -> None:
    """Builds count by status, provider and repository, and their time has BinderHub's buckets."""
    metrics = told(BUILD_STARTED, BUILD_ENDED)
    assert value(metrics, "binderhub_build_count_total", status="success", provider="GitHub", repo=REPO) == 1
    assert value(metrics, "binderhub_build_time_seconds_bucket", status="success", le="60.0") == 0
    assert value(metrics, "binderhub_build_time_seconds_bucket", status="success", le="120.0") == 1


def test_what_goes_on_is_counted_while_it_does() -> None:
    """The gauges rise and fall, and an end without a beginning does not make them negative."""
    metrics = told(LAUNCH_STARTED, LAUNCH_STARTED, BUILD_STARTED)
    assert value(metrics, "binderhub_inprogress_launches") == 1
    assert value(metrics, "binderhub_inprogress_builds") == 1
    for _ in range(2):
        metrics.listen(LAUNCH_ENDED)
        metrics.listen(BUILD_ENDED)
    assert value(metrics, "binderhub_inprogress_launches") == 0
    assert value(metrics, "binderhub_inprogress_builds") == 0


def test_sessions_are_counted() -> None:
    """How long a session took to answer, and why it ended."""
    metrics = told(SESSION_STARTED, SESSION_ENDED)
    assert value(metrics, "binderlet_session_start_seconds_sum") == pytest.approx(1.2)
    assert value(metrics, "binderlet_sessions_ended_total", reason="culled: idle") == 1


def test_adoptions_are_counted() -> None:
    """A session that was started ahead counts once, when its launch has it."""
    adopted = replace(SESSION_STARTED, session=replace(SESSION_STARTED.session, standby="key"))
    assert value(told(SESSION_STARTED, adopted), "binderlet_standbys_adopted_total") == 1


def test_the_number_of_repositories_is_bounded() -> None:
    """Beyond the limit repositories share one label, so that visitors cannot fill the memory."""
    facts = [replace(LAUNCH_ENDED, commit=replace(COMMIT, repo_url=f"https://r/{number}")) for number in range(5)]
    metrics = told(*facts, facts[0], repositories=2)
    counts = {
        repo: value(metrics, "binderhub_launch_count_total", status="success", provider="GitHub", repo=repo)
        for repo in ("https://r/0", "https://r/1", "https://r/2", "other")
    }
    assert counts == {"https://r/0": 2, "https://r/1": 1, "https://r/2": None, "other": 3}


def test_the_state_of_the_service_is_read_when_asked_for() -> None:
    """Gauges of the state come from the status snapshot; the page is rendered at most once a second."""
    now, asked = [0.0], [0]

    def status() -> ServiceStatus:
        asked[0] += 1
        return replace(STATUS, sessions=asked[0])

    metrics = Metrics(status, version="1.2.3", clock=lambda: now[0])
    page = metrics.render()
    assert b"binderlet_sessions 1.0" in page
    assert b'binderlet_check_ok{service="HAProxy"} 0.0' in page
    assert b'binderlet_info{version="1.2.3"} 1.0' in page
    assert b"binderlet_draining 0.0" in page
    now[0] = 0.9
    assert metrics.render() is page
    now[0] = 1.0
    assert b"binderlet_sessions 2.0" in metrics.render()


def test_http_answers_and_lost_facts_are_counted() -> None:
    """Routes are labels, URLs are not; what a record lost is shown."""
    metrics = told()
    metrics.observe_http("/build/{provider}/{spec}", 200, 0.003)
    metrics.set_dropped("history", 7)
    labels = {"route": "/build/{provider}/{spec}", "status": "200"}
    assert value(metrics, "binderlet_http_request_seconds_count", **labels) == 1
    assert value(metrics, "binderlet_facts_dropped", record="history") == 7


def test_githubs_quota_is_shown_once_it_is_known() -> None:
    """Before the first answer of the API there is no such metric: zero would mean that the quota is used up."""
    metrics = told()
    assert b"github" not in metrics.render()
    metrics.set_github_rate_limit(4999)
    metrics.set_github_rate_limit(4998)
    assert value(metrics, "binderhub_github_rate_limit_remaining") == 4998


def test_metrics_of_two_services_do_not_meet() -> None:
    """Each has a registry of its own."""
    one, _two = told(LAUNCH_STARTED), told()
    assert value(one, "binderhub_inprogress_launches") == 1


def test_every_metric_is_documented_and_nothing_else() -> None:
    """docs/reference/metrics.md lists exactly what is exported."""
    metrics = told()
    metrics.set_github_rate_limit(1)
    for name in OF_OTHER_PARTS:
        metrics.include(name, "", lambda: 0.0)
    exported = {family.name + ("_total" if family.type == "counter" else "") for family in metrics.registry.collect()}
    documented = set(re.findall(r"^\| `((?:binderhub|binderlet)_\w+)", DOCUMENTATION.read_text(), re.MULTILINE))
    assert exported - documented == set()
    sources = "".join(path.read_text() for path in (DOCUMENTATION.parents[2] / "src").rglob("*.py"))
    # Other parts export theirs themselves: their names are in the source.
    others = {name.removeprefix("binderlet_").removesuffix("_total") for name in documented - exported}
    assert {name for name in others if name not in sources} == set()


def test_a_fact_without_a_metric_is_a_mistake() -> None:
    """A new kind of fact cannot be forgotten here."""
    with pytest.raises(TypeError, match="no metric for str"):
        told("not a fact")  # type: ignore[arg-type]  # on purpose


def test_other_parts_have_gauges_of_their_own() -> None:
    """What another part knows is read when the page is made."""
    metrics = told()
    metrics.include("certificate_not_after_seconds", "When it ends.", lambda: 7.0)
    assert value(metrics, "binderlet_certificate_not_after_seconds") == 7
