"""What a job gives to the jobs that follow it: checked when it is sent, filled in where it ends."""

from __future__ import annotations

import pytest
from childdriver import POOLS, Driver, job_data

from taskq import TaskQ
from taskq.broker.finishing import finish_of
from taskq.broker.work import EndedJob
from taskq.errors import BadArguments, InvalidOption
from taskq.model.job import decode_body
from taskq.model.outcome import decode_record
from taskq.model.serializer import Serializers
from taskq.model.signature import plain_signature

ANY = plain_signature("any")


@pytest.fixture
def url(any_server):
    return any_server.url


@pytest.fixture
def app(url, namespace):
    with TaskQ("links", url, namespace) as app:

        @app.task(name="add")
        def add(a: int, b: int = 0) -> int:
            return a + b

        @app.task(name="tell")
        def tell(value: int, who: str = "", *, loud: bool = False) -> None: ...

        yield app


@pytest.fixture
def tell(app):
    return app.tasks["tell"]


def call(data, codec=""):
    """Read the arguments of a job as it travels."""
    return ANY.decode_arguments(Serializers().codec(codec), decode_body(data.partition(b"\n")[2]).payload)


# -- when the parent is sent ---


def test_what_takes_a_value_is_said_beside_the_links(app, add, tell, worker):
    add.apply_async((1,), link=[(tell, (5,)), tell.s("a"), tell.si(3), tell.s()], link_error=tell.s("b", loud=True))
    meta = worker.claim_one().body.meta
    assert meta["takes"] == {"link": [1, 3], "link_error": [0]}
    assert [call(data) for _, _, _, data in meta["link"]] == [((5,), {}), (("a",), {}), ((3,), {}), ((), {})]
    assert call(meta["link_error"][0][3]) == (("b",), {"loud": True})


def test_without_such_links_nothing_is_said(app, add, tell, worker):
    add.apply_async((1,), link=[tell.si(1), (tell, (2,))])
    assert "takes" not in worker.claim_one().body.meta


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [(("a", "b"), {}), ((3,), {}), ((), {"loud": "yes"}), ((), {"who": 3}), ((), {"quiet": 1}), ((), {"value": 1})],
)
def test_the_other_arguments_are_checked_at_once(add, tell, args, kwargs):
    with pytest.raises(BadArguments, match="tell"):
        add.apply_async((1,), link=tell.s(*args, **kwargs))


def test_a_task_without_arguments_takes_no_value(app, add):
    @app.task(name="none")
    def none() -> None: ...

    with pytest.raises(BadArguments, match="none"):
        add.apply_async((1,), link=none.s())


@pytest.mark.parametrize(("args", "kwargs"), [((), {}), (("a",), {}), ((1, "a", 2), {})])
def test_exact_calls_are_checked_as_a_whole(add, tell, args, kwargs):
    with pytest.raises(BadArguments):
        add.apply_async((1,), link_error=tell.si(*args, **kwargs))


@pytest.mark.parametrize("link", ["tell", 3, ("tell",), {}, (), [None]])
def test_what_is_no_call_is_refused(add, link):
    with pytest.raises(InvalidOption, match=r"task\.s\("):
        add.apply_async((1,), link=link)


def test_a_result_is_not_passed_on_between_serializers(app, add):
    reader = app.task(name="reader", serializer="json")(print)
    with pytest.raises(InvalidOption, match="reads 'json'"):
        add.apply_async((1,), link=reader.s())
    add.apply_async((1,), link=reader.si(), link_error=reader.s())


def test_a_pickle_takes_nothing(url, namespace):
    with TaskQ("links", url, namespace, allow_pickle=True, serializer="pickle") as app:
        first, second = app.task(name="a")(print), app.task(name="b")(print)
        for options in ({"link": second.s()}, {"link_error": second.s()}):
            with pytest.raises(InvalidOption, match="'pickle'"):
                first.apply_async((1,), **options)


# -- in the worker ---


@pytest.fixture(scope="module", params=POOLS)
def driver(request):
    """One child per pool for all tests here: each must leave it as good as new."""
    with Driver(request.param) as driver:
        yield driver.started()


def meta_of(kind, *jobs, takes=None):
    links = [("q", f"u{number}", number, data) for number, data in enumerate(jobs)]
    return {kind: links, "takes": {kind: list(range(len(jobs)) if takes is None else takes)}}


def test_a_result_comes_before_the_arguments(driver):
    meta = meta_of("link", job_data("x", 7), job_data("x", k=8), job_data("x", 9), takes=[0, 1])
    (_, first, delay, one), (_, second, _, two), (_, _, _, three) = driver.run("add", 1, 2, meta=meta).follow_ups
    assert [call(data) for data in (one, two, three)] == [((3, 7), {}), ((3,), {"k": 8}), ((9,), {})]
    assert (first, second, delay) == ("u0", "u1", 0)


def test_a_result_that_is_not_kept_is_passed_on_all_the_same(driver):
    ended = driver.run("add", 1, 2, meta=meta_of("link", job_data("x")), flags="i")
    assert (ended.record, call(ended.follow_ups[0][3])) == (b"", ((3,), {}))


def test_a_task_without_results_passes_on_what_it_returned(driver):
    ended = driver.run("noop", meta=meta_of("link", job_data("x", 1)))
    assert (ended.record, call(ended.follow_ups[0][3])) == (b"", ((None, 1), {}))


def test_a_failure_comes_before_the_arguments(driver):
    frame = driver.frame(job_data("boom", "KeyError", meta=meta_of("link_error", job_data("x", 7))))
    driver.give([frame])
    (failure, seven), _ = call(driver.wait(frame.handle).follow_ups[0][3])
    assert "raise " in failure.pop("traceback")
    assert [*failure.values(), seven] == [
        f"default/{frame.unique}", "boom", "failed", "KeyError", "'the reason'", 7,
    ]  # fmt: skip


def test_a_result_over_the_bound_of_a_job_is_not_passed_on(driver):
    meta = meta_of("link", job_data("x")) | meta_of("link_error", job_data("y"), takes=[])
    meta["takes"] = {"link": [0]}
    ended = driver.run("echo", "x" * 2_000_000, meta=meta)
    error = decode_record(ended.record).error
    assert (error.type, "max_body" in error.message) == ("ResultTooLarge", True)
    assert [data for _, _, _, data in ended.follow_ups] == [job_data("y")]


def test_a_link_that_cannot_take_the_result_fails_the_job(driver):
    record = driver.record("add", 1, 2, meta=meta_of("link", job_data("x", codec="json")))
    assert (record.error.type, "cannot take the result" in record.error.message) == ("SerializationError", True)


def test_damaged_takes_are_as_none(driver):
    meta = meta_of("link", job_data("x", 7))
    meta["takes"] = "all"
    assert call(driver.run("add", 1, 2, meta=meta).follow_ups[0][3]) == ((7,), {})


# -- where no child answers ---


@pytest.mark.parametrize(
    ("reason", "ending", "kind"),
    [("expired", "expired", "JobExpired"), ("crashed", "crashed", "JobCrashed"), ("unknown", "failed", "UnknownTask")],
)
def test_a_job_that_ended_in_a_script_gives_its_failure(reason, ending, kind):
    data = job_data("task", meta=meta_of("link_error", job_data("x", 7)))
    finish = finish_of(EndedJob("u", reason, b"", data), 1, "q")
    ((name, message),) = finish.follow_ups
    (failure, seven), _ = call(message.partition(b"\n")[2])
    assert (failure["ending"], failure["type"], failure["id"], failure["task"]) == (ending, kind, "q/u", "task")
    assert (name, seven) == ("q/u0", 7)


def test_a_cancelled_job_is_followed_by_nothing():
    data = job_data("task", meta=meta_of("link_error", job_data("x", 7)))
    assert list(finish_of(EndedJob("u", "cancelled", b"", data), 1, "q").follow_ups) == []
