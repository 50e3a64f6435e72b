"""Producers and workers of all pools under every kind of fault for some seconds: nothing accepted is lost."""

from __future__ import annotations

from pathlib import Path

from chaos.fleet import Fleet
from chaos.run import chaos

SECONDS = 10.0  # nearly each kind of fault once
SEED = 411


def test_a_short_chaos_run_loses_nothing(tmp_path: Path) -> None:
    told: list[str] = []
    verdict = chaos(SECONDS, SEED, tmp_path, told.append)
    assert verdict.good, "\n".join(told)
    assert verdict.completed > 300, "\n".join(told)
    assert verdict.answered > 10, "\n".join(told)
    assert verdict.followed > 10, "\n".join(told)


def test_a_worker_that_ended_by_itself_is_told_and_one_that_was_killed_is_not(tmp_path: Path) -> None:
    with Fleet(tmp_path, SEED) as fleet:
        ended, killed, unseen, _ = fleet.workers
        for member in (ended, unseen):
            assert member.running.stop() == 0
        fleet.kill(killed)
        fleet.kill(unseen)
        fleet.heal()
        assert [line.partition(" ended by itself with 0")[0] for line in fleet.ended_early] == ["gevent.1", "process.1"]
