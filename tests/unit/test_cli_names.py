"""Which task a name on the command line means."""

from __future__ import annotations

import pytest

from taskq.cli.jobs import full_name
from taskq.errors import UnknownTask

NAMES = ["proj.tasks.add", "proj.tasks.mail", "other.mail", "solo"]


@pytest.mark.parametrize(
    ("given", "full"),
    [("solo", "solo"), ("add", "proj.tasks.add"), ("tasks.add", "proj.tasks.add"), ("other.mail",) * 2],
)
def test_a_full_name_or_a_unique_ending_is_enough(given: str, full: str) -> None:
    assert full_name(given, NAMES) == full


def test_a_full_name_wins_over_an_ending() -> None:
    assert full_name("add", ["add", "x.add"]) == "add"


def test_an_ending_begins_at_a_dot() -> None:
    with pytest.raises(UnknownTask):
        full_name("dd", NAMES)


def test_an_ambiguous_ending_names_what_it_may_mean() -> None:
    with pytest.raises(UnknownTask, match=r"'mail' may be other\.mail or proj\.tasks\.mail"):
        full_name("mail", NAMES)


@pytest.mark.parametrize(
    ("given", "near"), [("ad", "proj.tasks.add"), ("sollo", "solo"), ("proj.task.add", "proj.tasks.add")]
)
def test_an_unknown_name_is_answered_with_the_nearest(given: str, near: str) -> None:
    with pytest.raises(UnknownTask, match=f"did you mean {near}"):
        full_name(given, NAMES)


def test_a_name_near_to_nothing_lists_the_tasks() -> None:
    with pytest.raises(UnknownTask, match=r"the app has other\.mail, proj"):
        full_name("zzzzzz", NAMES)


def test_an_app_without_tasks_says_so() -> None:
    with pytest.raises(UnknownTask, match="the app has none"):
        full_name("add", [])


def test_an_empty_name_means_no_task() -> None:
    with pytest.raises(UnknownTask):
        full_name("", ["x."])
