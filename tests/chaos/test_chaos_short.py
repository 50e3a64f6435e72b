"""Producers and workers of all pools under every kind of fault for some seconds: nothing accepted is lost."""

from __future__ import annotations

from pathlib import Path

from chaos.run import chaos

SECONDS = 10.0  # nearly each kind of fault once
SEED = 411


def test_a_short_chaos_run_loses_nothing(tmp_path: Path) -> None:
    told: list[str] = []
    verdict = chaos(SECONDS, SEED, tmp_path, told.append)
    assert verdict.good, "\n".join(told)
    assert verdict.completed > 300, "\n".join(told)
