"""The judge of the chaos run, on logs written by hand: what it must see, and what it must not take for a fault."""

from __future__ import annotations

import pytest
from chaos.checker import SETTLING, UNSETTLED, Fault, Verdict, judge, parse
from chaos.plan import WEIGHTS, draw

SENT = "attempt a - 0 1.0\naccept a - 0 1.1\n"
RAN = "start a w.1 7 2.0\nend a w.1 7 3.0\n"
AGAIN = "start a v.1 8 5.0\nend a v.1 8 6.0\n"
CUT = "start a w.1 7 2.0\n"  # its child died


def verdict(sent: str, ran: str, *faults: Fault, dead: tuple[str, ...] = ()) -> Verdict:
    return judge(parse(sent), parse(ran), faults, dead)


def test_a_job_that_was_accepted_and_ran_once_is_well() -> None:
    found = verdict(SENT, RAN)
    assert found.good
    assert (found.attempted, found.accepted, found.completed, found.recovered, found.run_again) == (1, 1, 1, 0, 0)


@pytest.mark.parametrize("ran", ["", CUT, "start a w.1 7 2.0\nfail a w.1 7 3.0\n"])
def test_one_that_did_not_come_to_an_end_is_lost(ran: str) -> None:
    found = verdict(SENT, ran)
    assert found.lost == ["a"]
    assert not found.good


def test_one_in_the_dead_set_is_not_lost() -> None:
    assert verdict(SENT, CUT, dead=("a",)).lost == []


def test_one_that_was_not_accepted_may_be_gone() -> None:
    assert verdict("attempt a - 0 1.0\nunknown a - 0 9.0\n", "").good


def test_one_that_ran_though_nobody_was_told_is_recovered() -> None:
    found = verdict("attempt a - 0 1.0\n", RAN)
    assert found.good
    assert found.recovered == 1


@pytest.mark.parametrize("sent", ["", "attempt a - 0 1.0\nrefused a - 0 1.1\n"])
def test_one_that_nobody_sent_is_unexpected(sent: str) -> None:
    found = verdict(sent, RAN)
    assert found.unexpected == ["a"]
    assert not found.good


def test_a_second_run_without_a_reason_is_unexplained() -> None:
    found = verdict(SENT, RAN + AGAIN)
    assert found.duplicated == ["a"]
    assert len(found.unexplained) == 1
    assert not found.good


@pytest.mark.parametrize(
    "fault",
    [
        Fault("w.1", 2.5, 2.5),
        Fault("w.1", 3.5, 3.5),  # finished, perhaps not settled
        Fault("w.1", 2.5, 2.5, pid=7),
        Fault("w.1", 1.0, 2.0),  # it was stopped, and its child went on
    ],
)
def test_a_second_run_after_a_fault_of_its_worker_is_explained(fault: Fault) -> None:
    found = verdict(SENT, RAN + AGAIN, fault)
    assert found.good
    assert (found.duplicated, found.run_again) == (["a"], 1)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("v.1", 2.5, 2.5),  # of another worker
        Fault("w.2", 2.5, 2.5),  # of the one that came after it
        Fault("w.1", 2.5, 2.5, pid=9),  # of another child
        Fault("w.1", 1.0, 1.9),  # it was over before
        Fault("w.1", 5.5, 5.5),  # the second run had begun
    ],
)
def test_another_fault_explains_nothing(fault: Fault) -> None:
    assert verdict(SENT, RAN + AGAIN, fault).unexplained


def test_a_fault_long_after_the_end_explains_nothing() -> None:
    late = 3.0 + UNSETTLED + 1
    again = f"start a v.1 8 {late + 1}\nend a v.1 8 {late + 2}\n"
    assert verdict(SENT, RAN + again, Fault("w.1", late, late)).unexplained


def test_a_fault_while_the_server_was_away_explains_what_could_not_be_settled() -> None:
    late = 3.0 + UNSETTLED + 5
    ran = RAN + f"start a v.1 8 {late + 1}\nend a v.1 8 {late + 2}\n"
    lines, fault = (parse(SENT), parse(ran)), [Fault("w.1", late, late)]
    assert judge(*lines, fault, (), [Fault("", 2.5, 6.0), Fault("", 7.0, 9.5)]).good
    assert not judge(*lines, fault, (), [Fault("", 1.0, 2.9), Fault("", 7.0, 9.5)]).good


def test_a_try_that_failed_explains_the_next() -> None:
    found = verdict(SENT, "start a w.1 7 2.0\nfail a w.1 7 3.0\n" + AGAIN)
    assert found.good
    assert (found.duplicated, found.run_again) == ([], 0)


def test_two_runs_at_a_time_are_told_apart_by_their_children() -> None:
    zombie = "start a w.1 7 2.0\nstart a v.1 8 4.0\nend a v.1 8 5.0\nend a w.1 7 6.0\n"
    found = verdict(SENT, zombie, Fault("w.1", 2.5, 4.5))
    assert found.good
    assert found.duplicated == ["a"]


def test_a_line_that_its_writer_did_not_live_to_finish_is_left_out() -> None:
    assert verdict(SENT + "attempt b - 0", RAN).attempted == 1


def test_a_plan_is_the_same_for_the_same_seed() -> None:
    assert draw(3, 60) == draw(3, 60) != draw(4, 60)


def test_a_minute_has_every_kind_of_fault() -> None:
    assert {strike.kind for strike in draw(3, 60)} == set(WEIGHTS)


def runs(word: str, count: int, worker: str = "w.1") -> str:
    """So many runs one after another, each of a child of its own."""
    ended = "{word} a {worker} {pid} {end}\n" if word else ""
    line = "start a {worker} {pid} {start}\n" + ended
    return "".join(
        line.format(word=word, worker=worker, pid=number, start=number * 10.0, end=number * 10.0 + 1)
        for number in range(1, count + 1)
    )


def kills(count: int, *, children: bool) -> list[Fault]:
    """A kill in the middle of each run."""
    return [
        Fault("w.1", number * 10.0 + 0.5, number * 10.0 + 0.5, pid=number if children else 0)
        for number in range(1, count + 1)
    ]


@pytest.mark.parametrize(
    ("ran", "faults", "good"),
    [
        (runs("", 5), kills(5, children=True), True),
        (runs("", 4), kills(4, children=True), False),
        (runs("", 10), kills(10, children=False), True),
        (runs("", 9), kills(9, children=False), False),
        (runs("fail", 31), [], True),
        (runs("fail", 30), [], False),
        (runs("doom", 1), [], True),
        ("", [], False),
    ],
)
def test_a_dead_job_needs_its_reason(ran: str, faults: list[Fault], good: bool) -> None:
    found = verdict(SENT, ran, *faults, dead=("a",))
    assert found.good == good, found.lines()
    assert bool(found.unexplained) != good


def test_a_try_that_failed_explains_no_run_that_began_before_it() -> None:
    both = "start a w.1 7 2.0\nstart a v.1 8 2.1\nfail a w.1 7 3.0\nfail a v.1 8 3.1\n"
    assert len(verdict(SENT, both + "start a w.1 7 5.0\nend a w.1 7 6.0\n").unexplained) == 1


def test_a_fault_soon_after_the_end_explains_what_a_disturbance_kept_from_being_settled() -> None:
    late = 3.0 + SETTLING + 1
    lines, fault = (parse(SENT), parse(RAN + AGAIN)), [Fault("w.1", late, late)]
    assert late < 5.0
    assert not judge(*lines, fault, ()).good
    assert judge(*lines, fault, (), [Fault("w.1", 2.5, 3.2)]).good
    assert not judge(*lines, fault, (), [Fault("v.1", 2.5, 3.2)]).good, "of another worker"


LINKED = "attempt a - 0 1.0\nlink a - 0 1.0\naccept a - 0 1.1\n"
THEN = "start a:then v.1 8 4.0\nend a:then v.1 8 5.0\n"
ELSE = "start a:else v.1 8 4.0\nend a:else v.1 8 5.0\n"
DOOMED = "start a w.1 7 2.0\ndoom a w.1 7 3.0\n"


@pytest.mark.parametrize(
    ("ran", "dead", "lost", "unexpected"),
    [
        (RAN + THEN, (), [], []),
        (DOOMED + ELSE, ("a",), [], []),
        (RAN, (), ["a:then"], []),
        (DOOMED, ("a",), ["a:else"], []),
        (RAN + THEN + ELSE, (), [], ["a:else"]),
        (DOOMED + ELSE + THEN, ("a",), [], ["a:then"]),
    ],
)
def test_the_follow_up_of_how_a_job_ended_runs_and_no_other(
    ran: str, dead: tuple[str, ...], lost: list[str], unexpected: list[str]
) -> None:
    found = verdict(LINKED, ran, dead=dead)
    assert (found.lost, found.unexpected) == (lost, unexpected)


def test_a_follow_up_that_runs_twice_is_unexplained() -> None:
    assert verdict(LINKED, RAN + THEN + THEN.replace("4.0", "6.0").replace("5.0", "7.0")).unexplained


@pytest.mark.parametrize(
    ("word", "ran", "good"), [("answer", RAN, True), ("answer", CUT, False), ("wrong", RAN, False)]
)
def test_a_result_is_that_of_a_job_that_ended(word: str, ran: str, good: bool) -> None:
    found = verdict(f"attempt a - 0 1.0\n{word} a - 0 4.0\n", ran)
    assert found.good == good
