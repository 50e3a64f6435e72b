"""The page of a report is whole, closed to the network, and safe whatever jobs are called."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from importlib.resources import files

import pytest
from report_kit import NOON, data_of, make_run, page_of

from taskq.model.outcome import Ending
from taskq.report.columns import MAX_TEXTS

HOSTILE = "</script><img src=x onerror=alert(1)><!-- {{script}} \u2028\u2029 &lt; \ud800 \\u003c"
CLEAN = page_of(make_run())


class Elements(HTMLParser):
    """The elements of a page as a browser finds them: a script ends at the first ``</script``."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def elements(page: str) -> list[tuple[str, dict[str, str | None]]]:
    return Elements(page).found


@pytest.mark.parametrize(
    "field", ["id", "queue", "task", "worker", "error", "message"], ids=lambda field: f"job {field}"
)
def test_a_hostile_text_adds_no_element(field: str) -> None:
    run = make_run(ending="failed", **{"error": "E", field: HOSTILE})
    assert [tag for tag, _ in elements(page_of(run))] == [tag for tag, _ in elements(CLEAN)]


@pytest.mark.parametrize("field", ["app", "namespace", "queues", "tasks"])
def test_a_hostile_name_of_what_was_asked_for_adds_no_element(field: str) -> None:
    page = page_of(make_run(), **{field: HOSTILE if field in {"app", "namespace"} else (HOSTILE,)})
    assert [tag for tag, _ in elements(page)] == [tag for tag, _ in elements(CLEAN)]


def test_a_hostile_text_is_read_back_as_it_was() -> None:
    assert data_of(page_of(make_run(task=HOSTILE)))["tasks"] == [HOSTILE]


def test_the_page_is_ascii_whatever_the_texts() -> None:
    assert page_of(make_run(task=HOSTILE), app="é\u202e").isascii()


def test_the_scripts_put_nothing_into_the_page_as_markup() -> None:
    scripts = "".join(one.read_text("utf-8") for one in files("taskq.report").joinpath("assets").iterdir())
    markup = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser|srcdoc"
    assert re.findall(markup, scripts) == []


def test_nothing_is_fetched() -> None:
    refers = [
        (tag, name) for tag, found in elements(CLEAN) for name in found if name in {"src", "href", "srcset", "data"}
    ]
    assert (refers, re.findall(r"url\(|@import|https?://|\bfetch\(|XMLHttpRequest|WebSocket|\bimport\b", CLEAN)) == (
        [],
        [],
    )


def policy(page: str) -> dict[str, list[str]]:
    (text,) = (found["content"] or "" for tag, found in elements(page) if "http-equiv" in found)
    return {words.split()[0]: words.split()[1:] for words in text.split(";")}


def test_the_policy_refuses_all_that_is_not_named() -> None:
    assert policy(CLEAN)["default-src"] == ["'none'"]


@pytest.mark.parametrize(("element", "directive"), [("script", "script-src"), ("style", "style-src")])
def test_the_policy_allows_the_pages_own_text_only(element: str, directive: str) -> None:
    text = re.findall(rf"<{element}>(.*?)</{element}>", CLEAN, re.DOTALL)
    digests = [f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'" for one in text]
    assert policy(CLEAN)[directive] == digests


def test_the_page_has_a_language_and_a_title() -> None:
    found = dict(elements(CLEAN))
    assert (found["html"].get("lang"), "title" in found) == ("en", True)


def test_each_control_has_a_name() -> None:
    buttons = re.findall(r"<button[^>]*>", CLEAN)
    assert buttons
    assert [one for one in buttons if "aria-label" not in one and 'id="fit"' not in one] == []


def test_a_report_of_nothing_is_a_page() -> None:
    assert data_of(page_of())["jobs"]["id"] == []


def test_one_job_has_its_times_in_microseconds() -> None:
    jobs = data_of(CLEAN)["jobs"]
    assert [jobs[name] for name in ("start", "run", "wait", "claim")] == [[0], [250_000], [500_000], [125_000]]


def test_starts_are_told_as_distances() -> None:
    data = data_of(page_of(make_run(0), make_run(1), make_run(3)))
    assert (data["base_us"], data["jobs"]["start"]) == (round((NOON + 0.5) * 1e6), [0, 1_000_000, 2_000_000])


def test_a_job_that_never_started_is_at_its_end() -> None:
    expired = make_run(1, ending="expired", worker="", child=0, claimed=None, started=None, finished=NOON + 5)
    data = data_of(page_of(make_run(), expired))
    assert [data["jobs"][name][1] for name in ("start", "run", "claim")] == [4_500_000, -1, -1]


def test_a_job_without_times_is_told_and_not_drawn() -> None:
    untimed = make_run(1, enqueued=None, claimed=None, started=None, finished=None)
    data = data_of(page_of(make_run(), untimed))
    assert (len(data["jobs"]["id"]), data["notes"]) == (1, ["1 job has no times, and no place in the timeline."])


def test_a_failure_that_is_not_drawn_is_in_the_table_of_failures() -> None:
    untimed = make_run(1, ending="failed", error="E", enqueued=None, claimed=None, started=None, finished=None)
    assert data_of(page_of(untimed))["failures"] == [[0, "failed", "E", 1, "", untimed.id, None]]


@pytest.mark.parametrize("ending", list(Ending))
def test_every_ending_has_a_letter_that_the_script_knows(ending: Ending) -> None:
    letter = data_of(page_of(make_run(ending=ending)))["jobs"]["ending"]
    assert re.search(rf'\b{letter}: "{ending}"', CLEAN)


def test_every_text_is_there_once() -> None:
    page = page_of(*(make_run(n, ending="failed", error="E", message="same words") for n in range(50)))
    assert page.count("same words") == 2  # in the list of errors, and in the table


def test_errors_that_all_differ_do_not_fill_the_page() -> None:
    runs = (make_run(n, ending="failed", error="E", message=f"{n} {'x' * 180}") for n in range(3 * MAX_TEXTS))
    assert len(data_of(page_of(*runs))["errors"]) == MAX_TEXTS + 1


def test_what_is_missing_is_told() -> None:
    notes = data_of(page_of(make_run(), damaged=3, left_out=1200))["notes"]
    assert notes == [
        "1,200 older jobs are left out: ask for a shorter time with --since.", "3 records could not be read.",
    ]  # fmt: skip


def test_what_was_asked_for_is_told() -> None:
    about = data_of(page_of(make_run(), queues=("default",), tasks=("add", "sub")))["about"]
    assert "; queue default; tasks add, sub; read at " in about
