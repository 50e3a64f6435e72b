"""The pure parts of the comparison with other systems: statistics, ratios, tables, pictures, options."""

from __future__ import annotations

import json
import math
import socket
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.peers import agent, environments, growth, proxy, report, svg
from benchmarks.peers.__main__ import parsed, scale_of
from benchmarks.peers.bench import Bench
from benchmarks.peers.catalogue import NAMES, WORKLOADS
from benchmarks.peers.crowds import told_load
from benchmarks.peers.figures import Figure, Sample, from_json, gather, percentile, ranked, to_json
from benchmarks.peers.job import PAYLOAD, RECORD, carried
from benchmarks.peers.senders import text
from benchmarks.peers.server import Work
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
    assert parsed(["--workloads", "a,drain,h"]).workloads == ["enqueue", "drain", "cost", "fleet"]


def test_a_workload_that_is_asked_for_twice_runs_once() -> None:
    assert parsed(["--workloads", "halfload,c"]).workloads == ["halfload", "roundtrip"]


def test_each_workload_has_a_letter_and_a_heading() -> None:
    assert set(NAMES) == {*WORKLOADS, "cost"} == set(report.GROUPS)


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
@pytest.mark.parametrize("workload", ["drain", "roundtrip", "sleep", "crowd", "cpu", "memory", "restart"])
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


@pytest.mark.parametrize("name", ["taskq", "celery", "rq", "dramatiq"])
def test_a_worker_of_several_queues_is_told_of_them(name: str) -> None:
    argv = SYSTEMS[name].command(Plan("process", 1, "fleet", results=False, queues=("left", "right"), workers=2)).argv
    assert [any(queue in word for word in argv) for queue in ("left", "right")] == [True, True]


@pytest.mark.parametrize("name", ["ardiq", "arq", "saq", "streaq", "taskiq"])
def test_who_runs_coroutines_runs_as_many_at_once_as_the_workload_wants(name: str) -> None:
    told = str(SYSTEMS[name].command(Plan("asyncio", 1_000, "crowd", results=False)))
    assert "1000" in told


@pytest.mark.parametrize("name", [name for name in SYSTEMS if name != "floor"])  # which its environment tells
def test_a_process_pool_has_as_many_children_as_the_workload_wants(name: str) -> None:
    command = SYSTEMS[name].command(Plan("process", 8, "children", results=False))
    assert command.copies == 8 or "8" in command.argv


def test_a_pool_that_cannot_run_so_many_at_once_is_left_out() -> None:
    assert [len(SYSTEMS["huey"].pools_for("crowd", ("gevent",), most)) for most in (1_000, 10_000)] == [1, 0]


def records(folder: Path, *numbers: int) -> Bench:
    (folder / "records").write_bytes(b"".join(RECORD.pack(number, 1, number, number + 1) for number in numbers))
    return Bench(SYSTEMS["taskq"], folder, None, folder, 1.0)  # type: ignore[arg-type]


def test_a_job_that_did_not_run_and_one_that_ran_twice_are_told(tmp_path: Path) -> None:
    assert records(tmp_path, 0, 1, 1, 7).check(3, [7, 8]).note == "1 ran twice, 2 did not run"


def test_nothing_is_told_where_each_job_ran_once(tmp_path: Path) -> None:
    assert records(tmp_path, 2, 0, 1, 8, 7).check(3, [7, 8]).note == ""


@pytest.mark.parametrize(("passed", "sent", "more"), [(0.0, 0, 0), (1.0, 0, 100), (1.0, 99, 1), (1.0, 120, 0)])
def test_as_many_jobs_are_due_as_the_rate_says(passed: float, sent: int, more: int) -> None:
    assert agent.due(100.0, passed, sent) == more


def test_threads_send_all_shares_once_between_them() -> None:
    sent: list[int] = []
    took = agent.from_threads(sent.append, [range(start, 50, 7) for start in range(7)])
    assert (sorted(sent), took["seconds"] > 0) == (list(range(50)), True)


def test_a_thread_that_cannot_send_is_told() -> None:
    def refused(number: int) -> None:
        raise ConnectionError(number)

    with pytest.raises(ConnectionError, match="3"):
        agent.from_threads(refused, [range(3, 4)])


@pytest.mark.parametrize(
    ("sent", "behind", "told"),
    [(500.0, 0.1, "9 trips beside 500 jobs/s of 1,000"), (300.0, 0.1, "no more: 30%"), (500.0, 2.0, "2.0 s behind")],
)
def test_half_a_load_that_was_none_is_told(sent: float, behind: float, told: str) -> None:
    assert told in told_load(1_000.0, sent, 9, behind)


@pytest.mark.parametrize(
    ("discipline", "first", "last"),
    [("fifo", range(100), [19_999]), ("lifo", range(19_900, 20_000), [0]), ("priority", range(0, 1_000, 10), [19])],
)
def test_jobs_that_ran_out_of_order_are_seen(discipline: str, first: range, last: list[int]) -> None:
    ran = list(first)
    assert [growth.in_order(discipline, each, 20_000) for each in (ran, ran + last)] == [True, False]


def test_costs_are_shared_by_all_jobs() -> None:
    work = Work(commands=0, reads=0, bytes_in=0, bytes_out=0, cpu=0.2, scripts=0.1)
    assert growth.Cost.of(work, 1.0, 1_000) == growth.Cost(wall=1_000, server=200, scripts=100)


def test_each_size_is_told_beside_the_first() -> None:
    bench = Bench(SYSTEMS["taskq"], Path(), None, Path(), 1.0)  # type: ignore[arg-type]
    series = growth.Series(bench, Plan("thread", 10, "growth", results=False))
    (small, *_), (large, *_) = (
        list(series.told("run a job", size, growth.Cost(wall, 1, 1), ""))
        for size, wall in (("10", 4.0), ("1,000", 5.0))
    )
    assert [(each.variant, each.note) for each in (small, large)] == [("10", ""), ("1,000", "1.25 x the first")]


def test_a_large_argument_has_all_its_characters_or_does_not_count() -> None:
    assert len(text()) == PAYLOAD
    with pytest.raises(ValueError, match="99999 characters"):
        carried(1, text()[:-1])


def echo(server: socket.socket) -> None:
    """Answer one connection with what it sends, until it ends."""
    connection, _ = server.accept()
    with connection:
        while data := connection.recv(65_536):
            connection.sendall(data)


@pytest.fixture
def echoing() -> Iterator[int]:
    """A server that answers with what it is sent; its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=echo, args=(server,), daemon=True)
        thread.start()
        yield server.getsockname()[1]
    thread.join(5)


def test_the_proxy_delays_both_ways_and_keeps_all_bytes_in_order(echoing: int) -> None:
    sent = bytes(range(256)) * 4_000
    with proxy.between(echoing, 0.05) as slow, socket.create_connection(("127.0.0.1", slow.port)) as client:
        started = time.perf_counter()
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        assert time.perf_counter() - started >= 0.1
        sender = threading.Thread(target=client.sendall, args=(sent,))
        sender.start()
        received = b""
        while len(received) < len(sent):
            received += client.recv(65_536)
        sender.join()
    assert received == sent


def test_the_proxy_has_many_chunks_under_way_at_once(echoing: int) -> None:
    with proxy.between(echoing, 0.1) as slow, socket.create_connection(("127.0.0.1", slow.port)) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        started = time.perf_counter()
        for _ in range(20):
            client.sendall(b"x")
            time.sleep(0.005)  # so that each is a chunk: one after another they would take 2 s
        received = b""
        while len(received) < 20:
            received += client.recv(20)
    assert time.perf_counter() - started < 1.5


def test_the_proxy_passes_on_that_a_client_has_gone(echoing: int) -> None:
    with proxy.between(echoing, 0.0) as slow:
        client = socket.create_connection(("127.0.0.1", slow.port))
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        client.shutdown(socket.SHUT_WR)
        client.settimeout(5)
        assert client.recv(1) == b""
        client.close()
