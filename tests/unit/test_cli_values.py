"""Texts of the command line become values, or an error that names the option and what was given."""

from __future__ import annotations

import pytest

from taskq.cli import values
from taskq.errors import BadArguments, InvalidOption


@pytest.mark.parametrize(
    "text", ["0", "-1", "1000000000", "abc", "", "1.5", "nan", "1_0", "\N{FULLWIDTH DIGIT ONE}", "9" * 400]
)
def test_a_count_out_of_range_names_the_option_and_the_range(text: str) -> None:
    with pytest.raises(InvalidOption, match=r"^--concurrency .* must be a whole number from 1 to 100$"):
        values.whole("--concurrency", text, 1, 100)


def test_a_count_in_range_is_a_number() -> None:
    assert [values.whole("-c", text, 1, 100) for text in ("1", " 100 ", "+7")] == [1, 100, 7]


def test_the_number_in_a_message_stands_as_it_was_typed() -> None:
    with pytest.raises(InvalidOption, match=r"^--concurrency 0 must be"):
        values.whole("--concurrency", "0", 1, 100)


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "86401", "x", "", "1_0"])
def test_seconds_out_of_range_are_refused(text: str) -> None:
    with pytest.raises(InvalidOption, match=r"--grace .* must be a number of seconds from 0 to 86400"):
        values.seconds("--grace", text, 0, 86_400)


def test_seconds_may_be_a_fraction() -> None:
    assert values.seconds("--grace", "0.25", 0, 10) == 0.25


@pytest.mark.parametrize(
    ("text", "kib"), [("200M", 204_800), ("1g", 1_048_576), ("32MiB", 32_768), ("20000001", 19_532)]
)
def test_a_size_becomes_kib(text: str, kib: int) -> None:
    assert values.kibibytes("--max", text, 16 * 1024, 1024**3) == kib


@pytest.mark.parametrize("text", ["", "0", "1M", "2000T", "-200M", "200Q", "M", "1.5G"])
def test_a_size_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(InvalidOption, match=r"must be a size from 16M to 1024G, such as 200M or 1G"):
        values.kibibytes("--max", text, 16 * 1024, 1024**3)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("-5", -5),
        ("abc", "abc"),
        ('"5"', "5"),
        ("5.5", 5.5),
        ("true", True),
        ("null", None),
        ('{"a": [1]}', {"a": [1]}),
        ("[1, 2", "[1, 2"),
        ("", ""),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ("http://x/?a=1", "http://x/?a=1"),
    ],
)
def test_an_argument_is_json_or_else_the_text(text: str, value: object) -> None:
    found = values.argument(text)
    assert (found, type(found)) == (value, type(value))


def test_an_argument_nested_too_deeply_is_refused() -> None:
    with pytest.raises(BadArguments, match="nested too deeply"):
        values.argument("[" * 200_000)


def test_keyword_arguments_are_read_as_arguments_are() -> None:
    assert values.keywords(["a=5", "b=x=y", "c="]) == {"a": 5, "b": "x=y", "c": ""}


@pytest.mark.parametrize("pair", ["a", "=5", "a b=5", "1=2", ""])
def test_a_keyword_argument_without_a_usable_name_is_refused(pair: str) -> None:
    with pytest.raises(BadArguments, match="not of the form name=value"):
        values.keywords([pair])


def test_a_keyword_argument_given_twice_is_refused() -> None:
    with pytest.raises(BadArguments, match="--kwarg a is given twice"):
        values.keywords(["a=1", "a=2"])


def test_a_number_is_whole_where_it_is_written_so() -> None:
    assert [(n, type(n)) for n in (values.number("-p", "3"), values.number("-p", "-0.5"))] == [(3, int), (-0.5, float)]


@pytest.mark.parametrize("text", ["x", "", "nan", "1 2"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(InvalidOption, match=r"--priority .* must be a number"):
        values.number("--priority", text)
