"""The federation's metrics."""

from __future__ import annotations

from binderlet.federation.metrics import Metrics
from binderlet.federation.redirector import Redirector
from binderlet.federation.report import unreachable
from support.federation import federation, well


def test_metrics() -> None:
    """Names are those of today's redirector; what lessens a member is its label."""
    redirector = Redirector(federation({"a": 2, "b": 1}))
    redirector.learn("a", well(quota=100, total=40, checks={"JupyterHub API": True}))
    redirector.learn("b", unreachable("refused"))
    redirector.give(b"/build/gh/o/r/x", b"")
    text = Metrics(redirector).render().decode()
    assert 'federation_health{member="a",reason=""} 1.0' in text
    assert 'federation_health{member="b",reason="refused"} 0.0' in text
    assert 'federation_health_check{check="JupyterHub API",member="a"} 1.0' in text
    assert 'federation_redirect_count_total{member="a",reason="choice"} 1.0' in text
    assert 'binderlet_federation_weight{member="a"} 2.0' in text
    assert 'binderlet_federation_free{member="a"} 60.0' in text
