"""What the same crawl takes one after another: measured on a sample of its pages, in this process, without queues."""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from workers import web
from workers.head import head
from workers.measure import measure
from workers.store import Run, Store

if TYPE_CHECKING:
    from collections.abc import Sequence

SAMPLE = 40  # pages: two seconds at 40 ms each, and enough that one slow page does not decide


@dataclass(frozen=True, slots=True)
class Baseline:
    """An estimate: ``seconds`` for all ``total`` urls of a run, from ``sampled`` of them that were really done."""

    seconds: float
    sampled: int
    total: int


def estimate(store: Store, run: Run, sample: int = SAMPLE) -> Baseline:
    """Do about ``sample`` of the run's urls again, one after another, evenly spread over each kind, and extrapolate.

    A page that cannot be read this time counts with the time it took to find out.
    """
    seconds, sampled, total = 0.0, 0, 0
    kinds = {kind: _urls(store, run.run, kind) for kind in get_args(web.Kind)}
    everything = sum(len(urls) for urls in kinds.values())
    with tempfile.TemporaryDirectory() as folder, Store.create(Path(folder, "sample.sqlite")) as scratch:
        scratch.open_run(run)
        for kind, urls in kinds.items():
            chosen = spread(urls, max(3, sample * len(urls) // max(1, everything)))
            began = time.perf_counter()
            for url in chosen:
                _one(scratch, run, url, kind)
            if chosen:
                seconds += (time.perf_counter() - began) / len(chosen) * len(urls)
            sampled += len(chosen)
            total += len(urls)
    return Baseline(seconds, sampled, total)


def spread(urls: Sequence[str], count: int) -> list[str]:
    """At most ``count`` of the urls, evenly spaced."""
    count = min(count, len(urls))
    return [urls[index * len(urls) // count] for index in range(count)]


def _urls(store: Store, run: str, kind: str) -> list[str]:
    sql = "SELECT url FROM pages WHERE run = ? AND kind = ? AND status = 200 ORDER BY url"
    return [row[0] for row in store.db.execute(sql, (run, kind))]


def _one(scratch: Store, run: Run, url: str, kind: str) -> None:
    if kind == "asset":
        scratch.finish_assets(run.run, [asyncio.run(head(url))], 0)
        return
    try:
        answer = web.get(url)
    except OSError:
        return
    scratch.claim(run, web.links(answer, html=run.html, rules=web.parse_rules(run.rules)), url)
    if kind == "page" and len(answer.body) <= web.MAX_SOURCE:
        scratch.record(run.run, measure(url, answer.content_type, answer.charset, answer.body), 0)
    scratch.finish_page(run.run, url, answer.status, size=len(answer.body), worker=0)
