"""What holds for every Barrier: https://docs.python.org/3/library/threading.html#barrier-objects."""

from __future__ import annotations

from typing import Any

import pytest
from crew import Actor, Crew, Doing, Raised, Thing, raises, until

PARTIES = 3


def of(actor: Actor, name: str, parties: int = PARTIES, **options: Any) -> Thing:
    return actor.Barrier(name, parties=parties, **options)


def arrive(actors: list[Actor], name: str, *arguments: Any, parties: int = PARTIES, **options: Any) -> list[Doing]:
    """Let one after the other wait, each when the one before is known to."""
    doing = []
    for number, actor in enumerate(actors):
        if number:
            until(
                lambda number=number: of(actors[-1], name, parties, **options).read("n_waiting") == number, "they wait"
            )
        doing.append(of(actor, name, parties, **options).start.wait(*arguments))
    return doing


def ends(doing: list[Doing]) -> list[Any]:
    """Return each value, or the name of the error's class."""
    found = []
    for each in doing:
        try:
            found.append(each.finish())
        except Raised as error:
            found.append(error.name)
    return found


def test_all_pass_when_all_have_come_each_with_another_index(crew: Crew, name):
    assert sorted(ends([of(actor, name).start.wait() for actor in crew(PARTIES)])) == [0, 1, 2]


def test_nobody_passes_before_the_last_has_come(crew: Crew, name):
    *first, last = crew(PARTIES)
    waiting = arrive(first, name)
    until(lambda: of(last, name).read("n_waiting") == 2, "both wait")
    assert not any(each.done for each in waiting)
    assert of(last, name).wait() in range(PARTIES)
    assert len(set(ends(waiting))) == 2


def test_it_is_used_again_and_again(crew: Crew, name):
    actors = crew(PARTIES)
    rounds = [[of(actor, name).start.wait() for actor in actors] for _ in range(10)]
    for doing in rounds:
        assert sorted(ends(doing)) == [0, 1, 2]
    assert [of(actor, name).read("n_waiting") for actor in actors] == [0] * PARTIES


def test_what_it_says_of_itself(crew: Crew, name):
    a, b, c = crew(PARTIES)
    assert [of(a, name).read(attribute) for attribute in ("parties", "n_waiting", "broken")] == [PARTIES, 0, False]
    waiting = arrive([a, b], name)
    until(lambda: of(c, name).read("n_waiting") == 2, "both wait")
    assert of(c, name).read("broken") is False
    of(c, name).wait()
    ends(waiting)
    assert of(c, name).read("n_waiting") == 0


def test_one_party_never_waits(crew: Crew, name):
    (a,) = crew(1)
    assert [of(a, name, 1).wait() for _ in range(3)] == [0, 0, 0]


def test_the_action_is_run_by_one_party_before_any_is_released(crew: Crew, name):
    actors = crew(PARTIES)
    runs = ["Semaphore", f"{name}-runs", {"value": 0}]
    action = {"$call": [runs, "release"]}
    for _ in range(3):
        first = arrive(actors, name, action=action)
        assert sorted(ends(first)) == [0, 1, 2]
        counted = [actors[0].Semaphore(f"{name}-runs", value=0).acquire(False) for _ in range(2)]
        assert counted == [True, False]


def test_an_action_that_fails_breaks_it_and_its_party_gets_the_error(crew: Crew, name):
    actors = crew(PARTIES)
    doing = [of(actor, name, action={"$raise": "KeyError"}).start.wait() for actor in actors]
    assert sorted(ends(doing)) == ["BrokenBarrierError", "BrokenBarrierError", "KeyError"]
    assert of(actors[0], name, action={"$raise": "KeyError"}).read("broken") is True


def test_abort_breaks_it_for_who_waits_and_who_comes(crew: Crew, name):
    a, b, c = crew(PARTIES)
    waiting = arrive([a, b], name)
    until(lambda: of(c, name).read("n_waiting") == 2, "both wait")
    of(c, name).abort()
    assert ends(waiting) == ["BrokenBarrierError"] * 2
    assert of(a, name).read("broken") is True
    with raises("BrokenBarrierError"):
        of(c, name).wait()


def test_reset_breaks_it_for_who_waits_and_it_is_as_new(crew: Crew, name):
    a, b, c = crew(PARTIES)
    waiting = arrive([a, b], name)
    until(lambda: of(c, name).read("n_waiting") == 2, "both wait")
    of(c, name).reset()
    assert ends(waiting) == ["BrokenBarrierError"] * 2
    assert [of(c, name).read(attribute) for attribute in ("broken", "n_waiting")] == [False, 0]
    assert sorted(ends([of(actor, name).start.wait() for actor in (a, b, c)])) == [0, 1, 2]


def test_a_broken_one_is_mended_by_reset(crew: Crew, name):
    actors = crew(PARTIES)
    of(actors[0], name).abort()
    of(actors[1], name).reset()
    assert of(actors[2], name).read("broken") is False
    assert sorted(ends([of(actor, name).start.wait() for actor in actors])) == [0, 1, 2]


def test_reset_of_one_that_nobody_waits_at_changes_nothing(crew: Crew, name):
    actors = crew(PARTIES)
    of(actors[0], name).reset()
    assert sorted(ends([of(actor, name).start.wait() for actor in actors])) == [0, 1, 2]


@pytest.mark.parametrize("default", [False, True])
def test_a_wait_that_takes_too_long_breaks_it_for_all(crew: Crew, name, default):
    a, b, c = crew(PARTIES)
    options = {"timeout": 0.1} if default else {}
    patient, hasty = arrive([a, b], name, *([] if default else [0.1]), **options)
    assert ends([patient, hasty]) == ["BrokenBarrierError"] * 2
    assert of(c, name, **options).read("broken") is True
    with raises("BrokenBarrierError"):
        of(c, name, **options).wait()


def test_one_that_is_hasty_breaks_it_for_the_patient(crew: Crew, name):
    a, b, _ = crew(PARTIES)
    (patient,) = arrive([a], name)
    until(lambda: of(b, name).read("n_waiting") == 1, "it waits")
    with raises("BrokenBarrierError"):
        of(b, name).wait(0.05)
    with raises("BrokenBarrierError"):
        patient.finish()


def test_another_number_of_parties_is_a_conflict(crew: Crew, name):
    a, b = crew(2)
    of(a, name, 1).wait()
    with raises("PrimitiveConflict"):
        of(b, name, 2).wait(5)


@pytest.mark.parametrize("parties", [0, -1])
def test_less_than_one_party_is_refused(crew: Crew, name, parties):
    (a,) = crew(1)
    with raises("ValueError"):
        of(a, name, parties).wait()
