"""What ``Executor.map`` is told about chunks is checked before anything is sent."""

from __future__ import annotations

import pytest

from taskq import TaskQ
from taskq.client.mapping import check_map


@pytest.mark.parametrize("chunksize", [1.5, 1.0, "a", True, False, None, [1], float("nan")], ids=repr)
def test_a_chunksize_that_is_no_whole_number_is_refused_by_its_name(chunksize):
    with pytest.raises(TypeError, match=r"chunksize .* must be a whole number") as raised:
        check_map(None, chunksize, None)
    assert "\n" not in str(raised.value)


def test_a_large_value_is_shown_in_part():
    with pytest.raises(TypeError) as raised:
        check_map(None, "x" * 10_000, None)
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize("chunksize", [0, -1])
def test_a_chunksize_below_one_is_refused_as_the_standard_library_does(chunksize):
    with pytest.raises(ValueError, match="chunksize"):
        check_map(None, chunksize, None)


@pytest.mark.parametrize("chunksize", [1, 1000, 10**9])
def test_a_whole_number_is_taken(chunksize):
    assert check_map(None, chunksize, None) is None


def test_map_of_an_executor_checks_it():
    app = TaskQ("x", "redis://localhost")
    with pytest.raises(TypeError, match=r"chunksize 1\.5"):
        app.Executor().map(app.task(name="t")(len), [[]], chunksize=1.5)  # type: ignore[arg-type]
