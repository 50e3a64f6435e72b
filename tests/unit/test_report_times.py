"""Times on the command line: how long ago, or when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from taskq.cli import values
from taskq.errors import InvalidOption


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("2h", 7200), ("1d", 86_400), ("1w", 604_800), ("1h30m", 5400), ("0.5h", 1800),
     ("90", 90), (" 1.5 ", 1.5), ("10M", 600), ("0", 0)],
)  # fmt: skip
def test_a_span_becomes_seconds(text: str, seconds: float) -> None:
    assert values.span("--since", text) == seconds


@pytest.mark.parametrize(
    "text", ["", "-5", "-5m", "5x", "m", "10 m", "nan", "inf", "1_0", "5m-1s", "99999d", "\N{ARABIC-INDIC DIGIT ONE}m"]
)
def test_what_is_no_span_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidOption, match=r"^--older .* must be a time span from 0s to 3660d, such as 90s"):
        values.span("--older", text)


def test_a_time_ago_is_a_difference() -> None:
    assert values.when("--since", "10m") == timedelta(minutes=10)


@pytest.mark.parametrize("text", ["2026-11-20T10:00Z", "2026-11-20 10:00+00:00", "2026-11-20T11:00:00+01:00"])
def test_a_date_and_time_is_a_moment(text: str) -> None:
    assert values.when("--since", text) == datetime(2026, 11, 20, 10, tzinfo=UTC).timestamp()


def test_a_time_without_a_zone_is_this_machines() -> None:
    assert values.when("--since", "2026-11-20T10:00") == datetime(2026, 11, 20, 10).astimezone().timestamp()


@pytest.mark.parametrize("text", ["", "yesterday", "-10m", "nan", "2026-13-01", "2026-11-20T25:00", "10m ago"])
def test_what_is_no_moment_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidOption, match=r"^--since .* must be a time: 90s, 10m, 2h or 1d ago, or a time such as"):
        values.when("--since", text)


def test_a_moment_ago_counts_from_the_clock_that_is_given() -> None:
    assert values.moment("--since", "10m", 1000.0) == 400.0
