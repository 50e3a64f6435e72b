"""The pure parts of the comparison with other systems: statistics, ratios, tables, pictures, options."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET

import pytest

from benchmarks.peers import environments, report, svg
from benchmarks.peers.__main__ import parsed, scale_of
from benchmarks.peers.figures import Figure, Sample, from_json, gather, percentile, ranked, to_json
from benchmarks.peers.spec import KINDS, Plan
from benchmarks.peers.systems import SYSTEMS
from benchmarks.peers.workloads import QUICK, Scale, plan_of


def rate(value: float, **more: object) -> Sample:
    return Sample("drain", "drain 20,000", value, "jobs/s", "process", results=False, **more)  # type: ignore[arg-type]


def late(value: float) -> Sample:
    return Sample("roundtrip", "round trip p50", value, "ms", "process", results=True)


def named(figures: list[Figure]) -> dict[str, Figure]:
    return {figure.name: figure for figure in figures}


def about(figures: list[Figure]) -> dict[str, object]:
    text = json.dumps([to_json(figure) for figure in figures])
    return {
        "date": "2030-01-02",
        "machine": "2 x CPU",
        "server": "Redis 7",
        "scale": "3 runs",
        "versions": {"celery": {"celery": "5"}},
        "settings": {"celery": ["Celery.", "delay()"]},
        "figures": json.loads(text),
    }


@pytest.mark.parametrize(("percent", "value"), [(50, 5), (90, 9), (95, 10), (99, 10), (100, 10)])
def test_percentile_is_the_smallest_value_that_so_many_do_not_exceed(percent: float, value: float) -> None:
    assert percentile([10, 9, 8, 7, 6, 5, 4, 3, 2, 1], percent) == value


def test_percentile_of_one_value_is_that_value() -> None:
    assert percentile([3.0], 99) == 3.0


def test_samples_of_several_runs_become_one_figure_with_median_and_spread() -> None:
    (figure,) = gather([("celery", rate(30)), ("celery", rate(10)), ("celery", rate(20))])
    assert (figure.median, figure.spread) == (20, (10, 30))


def test_variants_of_a_pool_are_figures_of_their_own() -> None:
    figures = gather([("celery", rate(1)), ("celery", rate(2, variant="2 x solo"))])
    assert set(named(figures)) == {"celery", "celery (2 x solo)"}


def test_rates_are_compared_with_the_highest_peer() -> None:
    figures = named(gather([("floor", rate(100)), ("taskq", rate(80)), ("rq", rate(10)), ("ardiq", rate(20))]))
    assert (figures["taskq"].to_floor, figures["taskq"].to_best, figures["rq"].to_best) == (0.8, 4, 0.5)


def test_times_are_compared_with_the_lowest_peer() -> None:
    figures = named(gather([("taskq", late(1)), ("rq", late(8)), ("huey", late(2))]))
    assert figures["taskq"].to_best == 0.5


def test_a_peer_whose_jobs_did_not_run_once_each_is_not_the_best() -> None:
    figures = named(gather([("taskq", rate(80)), ("saq", rate(40, ok=False, note="1 ran twice")), ("rq", rate(10))]))
    assert figures["taskq"].to_best == 8


@pytest.mark.parametrize("floor", [0.0, -12.0, math.nan])
def test_nothing_is_compared_with_what_is_not_positive(floor: float) -> None:
    figures = named(gather([("floor", rate(floor)), ("taskq", rate(80))]))
    assert figures["taskq"].to_floor is None


def test_figures_of_other_pools_or_results_are_not_compared() -> None:
    other = Sample("drain", "drain 20,000", 5, "jobs/s", "process", results=True)
    figures = gather([("taskq", rate(10)), ("rq", other)])
    assert [figure.to_best for figure in figures] == [None, 1]


def test_a_failure_has_no_value_and_says_why() -> None:
    (figure,) = gather([("rq", rate(math.nan, ok=False, note="the worker ended"))])
    assert (figure.values, figure.failures, figure.notes) == ([], 1, ["the worker ended"])


def test_a_failure_in_one_run_leaves_the_unit_of_the_others() -> None:
    failed = Sample("drain", "drain 20,000", math.nan, "", "process", results=False, ok=False, note="x")
    (figure,) = gather([("rq", failed), ("rq", rate(3))])
    assert (figure.unit, figure.values) == ("jobs/s", [3])


def test_best_comes_first_and_what_failed_last() -> None:
    figures = gather([("rq", rate(math.nan, ok=False)), ("huey", rate(1)), ("taskq", rate(9))])
    assert [figure.system for figure in ranked(figures)] == ["taskq", "huey", "rq"]


def test_figures_survive_json() -> None:
    figures = gather([("taskq", rate(9, settings="taskq worker", neighbours=0.5)), ("rq", rate(math.nan, ok=False))])
    again = [from_json(each) for each in json.loads(json.dumps([to_json(figure) for figure in figures]))]
    assert again == figures


@pytest.mark.parametrize(
    ("value", "text"), [(0.1234, "0.12"), (9.876, "9.88"), (12.34, "12.3"), (123456.7, "123,457"), (math.nan, "-")]
)
def test_numbers_have_the_digits_worth_reading(value: float, text: str) -> None:
    assert report.number(value) == text


def test_a_plain_table_has_median_spread_and_ratios() -> None:
    text = "\n".join(report.plain(gather([("floor", rate(100)), ("taskq", rate(40)), ("taskq", rate(60))])))
    row = next(line for line in text.splitlines() if line.split()[:1] == ["taskq"])
    assert row.split() == ["taskq", "50.0", "40.0", "to", "60.0", "0.50"]


def test_a_plain_table_tells_the_cpu_that_others_used() -> None:
    text = "\n".join(report.plain(gather([("rq", rate(1, neighbours=0.75)), ("huey", rate(2, neighbours=0.01))])))
    assert ("0.75" in text, "0.01" in text) == (True, False)


def test_the_docs_get_the_report_between_their_markers_and_keep_the_rest() -> None:
    page = "before\n<!-- generated: peers -->\nold\n<!-- end -->\nafter\n"
    filled = report.fill(page, about(gather([("celery", rate(9, settings="celery worker | more"))])))
    assert filled.startswith("before\n<!-- generated: peers -->\n")
    assert filled.endswith("\n<!-- end -->\nafter\n")
    assert "old" not in filled
    assert "| celery | 9.00 |" in filled


def test_filling_the_docs_twice_is_filling_them_once() -> None:
    told = about(gather([("celery", rate(9))]))
    once = report.fill("<!-- generated: peers -->\n<!-- end -->\n", told)
    assert report.fill(once, told) == once


def test_the_docs_tell_the_settings_of_each_system() -> None:
    filled = report.fill(
        "<!-- generated: peers -->\n<!-- end -->", about(gather([("celery", rate(9, settings="celery -A x worker"))]))
    )
    assert "- process: `celery -A x worker`" in filled


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="generated: peers"):
        report.fill("nothing here", about([]))


def test_a_picture_is_xml_with_a_bar_for_each_figure_that_has_a_value() -> None:
    figures = gather([("taskq", rate(9)), ("rq", rate(3)), ("huey", rate(math.nan, ok=False))])
    root = ET.fromstring(svg.picture('Drain <fast> & "quick"', "a note", [svg.Panel("process", figures)]))
    bars = [float(bar.attrib["width"]) for bar in root.iter("{http://www.w3.org/2000/svg}rect")]
    assert bars == [pytest.approx(bars[0]), pytest.approx(bars[0] / 3, abs=0.1)]


def test_bars_of_a_logarithmic_picture_never_vanish() -> None:
    assert svg.share(0.1, [0.1, 1_000.0], log=True) > svg.DECADE_LEFT
    assert svg.share(1_000.0, [0.1, 1_000.0], log=True) == pytest.approx(1)


def test_pictures_are_made_of_what_was_measured() -> None:
    assert set(svg.pictures(gather([("taskq", rate(9)), ("taskq", late(1))]), "note")) == {"drain.svg", "roundtrip.svg"}


def test_a_drain_is_drawn_of_the_count_that_all_ran() -> None:
    ten = Sample("drain", "drain 200,000", 99, "jobs/s", "process", results=False)
    drawn = svg.pictures(gather([("taskq", ten), ("taskq", rate(9))]), "note")["drain.svg"]
    assert (">9.00</text>" in drawn, ">99.0</text>" in drawn) == (True, False)


def test_workloads_are_named_by_letters_too() -> None:
    assert parsed(["--workloads", "a,drain,h"]).workloads == ["enqueue", "drain", "cost"]


@pytest.mark.parametrize("option", ["--systems", "--workloads", "--pools"])
def test_an_unknown_name_is_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed([option, "nothing"])
    assert "'nothing' is none of" in capsys.readouterr().err


def test_quick_runs_are_small_and_a_count_overrides_them() -> None:
    assert scale_of(parsed(["--quick"])) == QUICK
    assert scale_of(parsed(["--quick", "--count", "7"])).jobs == 7
    assert scale_of(parsed([])) == Scale()


@pytest.mark.parametrize(
    ("pinned", "bare"), [("celery[redis]==5.7.0", "celery[redis]"), ("redis>=5.2", "redis"), ("typing_extensions",) * 2]
)
def test_the_newest_version_is_one_without_a_pin(pinned: str, bare: str) -> None:
    assert environments.unpinned(pinned) == bare


def test_an_interpreter_that_does_not_run_has_no_version() -> None:
    assert environments.version_of("/nonexistent/python") is None


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("workload", ["drain", "roundtrip", "sleep", "cpu", "memory"])
def test_each_pool_of_each_system_has_a_command_for_each_workload(name: str, workload: str) -> None:
    system = SYSTEMS[name]
    for pool in system.pools_for(workload, KINDS):
        assert system.command(plan_of(pool, workload, results=True)).argv[0]


@pytest.mark.parametrize("name", SYSTEMS)
def test_each_system_says_what_its_settings_are(name: str) -> None:
    assert SYSTEMS[name].about.strip()
    assert SYSTEMS[name].sending


def test_celery_prefetches_little_where_jobs_are_long() -> None:
    command = SYSTEMS["celery"].command
    short, long = (str(command(Plan("thread", 100, workload, results=False))) for workload in ("drain", "sleep"))
    assert ("--prefetch-multiplier 64" in short, "--prefetch-multiplier 1 " in long) == (True, True)
