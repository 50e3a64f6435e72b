"""What the command line prints cannot steer a terminal, and scripts can read it."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable

import pytest

from taskq.cli import output

STEERING = "a\x1b[31mb\x07c\x9bd\u202ee\x7f"


def test_a_line_has_no_control_characters() -> None:
    assert output.line(f"{STEERING}\nsecond\tline").isprintable()


def test_a_value_is_json_where_json_can_carry_it() -> None:
    assert output.as_text({"a": [1, "é", None]}) == '{"a": [1, "é", null]}'


@pytest.mark.parametrize("value", [b"\x00", {1, 2}, float("nan"), dt.date(2026, 1, 31)])
def test_a_value_is_its_repr_where_json_has_no_word_for_it(value: object) -> None:
    assert output.as_text(value) == repr(value)


def test_a_text_with_control_characters_is_still_the_same_json() -> None:
    shown = output.as_text(STEERING)
    assert (shown.isprintable(), json.loads(shown)) == (True, STEERING)


def test_a_value_whose_repr_fails_is_named_by_its_type() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise ValueError

    assert output.as_text(Broken()) == "<Broken whose repr raised ValueError>"


def test_json_for_scripts_is_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    output.emit({"text": "é\u202e"})
    shown = capsys.readouterr().out
    assert (shown.isascii(), json.loads(shown)) == (True, {"text": "é\u202e"})


def test_a_table_in_a_pipe_is_plain_columns(capsys: pytest.CaptureFixture[str]) -> None:
    output.table("Queues", ["name", "ready"], [("default", 5), ("b", 12_000)])
    assert capsys.readouterr().out.splitlines() == ["NAME     READY", "default      5", "b        12000"]


def test_a_table_without_rows_is_its_heads(capsys: pytest.CaptureFixture[str]) -> None:
    output.table("Queues", ["name", "ready"], [])
    assert capsys.readouterr().out == "NAME  READY\n"


def test_a_cell_cannot_break_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    output.table("Queues", ["name"], [("a\nb\x1b[2J",)])
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_a_table_on_a_terminal_shows_markup_of_others_as_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(output, "on_terminal", lambda: True)
    output.table("Queues", ["name"], [("[red]x[/red] :bug: \\[b]",)])
    assert "[red]x[/red] :bug: \\[b]" in capsys.readouterr().out


WORKERS = ["name", "pool", "slots", "busy", "queues"]
WORKER = ("a-machine-with-a-name.1234.abcdef", "process", 10, 0, ",".join(f"queue-{number}" for number in range(20)))


def drawn(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Make the output a terminal of so many columns."""

    def make(width: int) -> None:
        monkeypatch.setattr(output, "on_terminal", lambda: True)
        monkeypatch.setenv("COLUMNS", str(width))

    return make


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100])
def test_a_table_with_columns_that_matter_is_one_line_a_row_and_no_wider_than_the_terminal(
    terminal: Callable[[int], None], capsys: pytest.CaptureFixture[str], width: int
) -> None:
    terminal(width)
    output.table("Workers", WORKERS, [WORKER, WORKER], keep=("name", "busy", "queues"))
    shown = drawn(capsys)
    assert len(shown) == 5  # title, heads, rule
    assert max(len(line) for line in shown) <= width
    assert all(line.startswith("a-machi") for line in shown[3:])


def test_columns_that_matter_are_shown_where_others_have_no_room(
    terminal: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    terminal(42)
    output.table("Workers", WORKERS, [WORKER], keep=("name", "busy", "queues"))
    assert drawn(capsys)[1].split() == ["name", "busy", "queues"]


def test_a_whole_cell_is_folded_where_it_does_not_fit(
    terminal: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    terminal(40)
    output.table("Jobs", ["id", "state"], [("x" * 50, "dead")], keep=("id", "state"), whole="id")
    shown = drawn(capsys)
    assert (sum(line.count("x") for line in shown), max(len(line) for line in shown) <= 40) == (50, True)


def test_a_cell_whose_end_says_more_keeps_its_end(
    terminal: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    terminal(20)
    output.table("Jobs", ["task"], [("a.package.with.many.parts.send",)], keep=("task",), ends=("task",))
    assert drawn(capsys)[3] == "…ith.many.parts.send"


def test_wide_characters_count_twice(terminal: Callable[[int], None], capsys: pytest.CaptureFixture[str]) -> None:
    terminal(20)
    output.table("Jobs", ["task"], [("日本語" * 10,)], keep=("task",))
    assert drawn(capsys)[3] == "日本語日本語日本語…"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "-"), (-1, "0.0s"), (0.26, "0.3s"), (42.4, "42s"), (59.9, "1m00s"), (192, "3m12s"), (18_420, "5h07m"),
     (187_200, "2d04h")],
)  # fmt: skip
def test_an_age_is_short(seconds: float | None, shown: str) -> None:
    assert output.age(seconds) == shown


def test_a_spinner_shows_nothing_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    with output.spinner("waiting"):
        pass
    assert capsys.readouterr() == ("", "")
