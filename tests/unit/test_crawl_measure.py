"""Measuring pages: complexity counted by hand, odd encodings, sources that do not parse, examples on HTML pages."""

from __future__ import annotations

import pytest

from workers.measure import TOP, Finding, Function, measure


def source(text, url="http://h/m.py"):
    return measure(url, "text/plain", "utf-8", text if isinstance(text, bytes) else text.encode())


def html(text):
    return measure("http://h/", "text/html", "utf-8", text.encode())


@pytest.mark.parametrize(
    ("body", "complexity"),
    [
        ("pass", 1),
        ("if a: pass", 2),
        ("if a: pass\n elif b: pass\n else: pass", 3),
        ("x = a if b else c", 2),
        ("for x in y: pass\n else: pass", 2),
        ("while a: pass", 2),
        ("return a and b and c", 3),
        ("return (a or b) and c", 3),
        ("try: pass\n except A: pass\n except B: pass\n else: pass\n finally: pass", 3),
        ("with a: pass", 1),
        ("return [x for x in y if a if b]", 4),
        ("return {x: z for x in y for z in x}", 3),
        ("return lambda: a or b", 2),
        ("match a:\n  case 1: pass\n  case 2 if b: pass\n  case _: pass", 3),
        ("match a:\n  case _ if b: pass", 2),
        ("match a:\n  case x: pass", 1),
        ("assert a", 1),
    ],
)
def test_complexity_is_one_and_one_per_decision(body, complexity):
    finding = source(f"def f():\n {body}\n")
    assert (finding.error, finding.complexity) == ("", complexity)


def test_async_constructs_count_as_their_plain_ones():
    finding = source("async def f():\n async for x in y: pass\n async with a: pass\n")
    assert finding.top == (Function("f", 1, 2),)


def test_a_nested_function_counts_apart_and_carries_its_path():
    text = "class A:\n def f(self):\n  if a: pass\n  def g():\n   if b or c: pass\n"
    assert source(text).top == (Function("A.f.g", 4, 3), Function("A.f", 2, 2))


def test_code_outside_functions_has_no_complexity():
    finding = source("if a:\n  pass\nclass A:\n  x = b or c\n")
    assert (finding.functions, finding.classes, finding.complexity) == (0, 1, 0)


def test_lines_are_counted_as_python_counts_them():
    text = "# comment\n\nx = 1  # code\n\x0c\ny = '''\n'''\r\nz = 2\n  # end"
    finding = source(text)
    assert (finding.lines, finding.code_lines) == (8, 4)


def test_an_empty_file_is_a_finding_of_zeros():
    assert source("") == Finding("http://h/m.py")


def test_only_the_most_complex_functions_are_kept_but_all_are_counted():
    text = "".join(f"def f{n}():\n return {' or '.join(['a'] * (n + 1))}\n" for n in range(30))
    finding = source(text)
    assert (finding.functions, len(finding.top)) == (30, TOP)
    assert [f.name for f in finding.top[:2]] == ["f29", "f28"]


def test_equally_complex_functions_stand_in_the_order_of_their_lines():
    assert [f.name for f in source("def b(): pass\ndef a(): pass\n").top] == ["b", "a"]


@pytest.mark.parametrize(
    "body",
    [
        "# -*- coding: latin-1 -*-\ndef gr\xfcn(): pass\n".encode("latin-1"),
        "\ufeffdef grün(): pass\n".encode(),
        "def grün(): pass\n".encode(),
        "# vim: set fileencoding=cp1252 :\ndef gr\xfcn(): pass\n".encode("cp1252"),
    ],
)
def test_a_source_is_decoded_by_its_own_cookie(body):
    assert [f.name for f in source(body).top] == ["grün"]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"def f(:\n", "SyntaxError"),
        (b"print 'old'\n", "SyntaxError"),
        (b"  x = 1\n", "IndentationError"),
        (b"# coding: no-such-codec\nx = 1\n", "SyntaxError"),
        (b"x = '\xff\xfe'\n", "SyntaxError"),
        (b"# coding: ascii\n# 1\n# 2\nx = '\xff'\n", "UnicodeDecodeError"),
        (b"# coding: rot13\nx = 1\n", "Error"),
        (b"x = 1\x00\n", "Error"),
        (b"(" * 100_000, "Error"),
        (b"-" * 200_000 + b"1\n", "Error"),
    ],
)
def test_what_does_not_parse_is_a_finding_with_the_reason(body, error):
    finding = source(body)
    assert error in finding.error
    assert "\n" not in finding.error
    assert finding.functions == 0


def test_lines_are_known_even_of_a_source_that_does_not_parse():
    finding = source("x = 1\n# no code\ndef f(:\n")
    assert (finding.lines, finding.code_lines) == (3, 2)


def test_lines_are_known_even_of_a_source_that_cannot_be_decoded():
    assert source(b"# coding: ascii\n# 1\n# 2\nx = '\xff'").lines == 4


def test_warnings_of_foreign_sources_stay_silent():
    assert source("x = '\\d'\nassert (1, 'always')\n1 is 1\n").error == ""


def test_deep_nesting_does_not_end_the_walk():
    text = "def f():\n return " + "+".join(["1"] * 900) + "\n"
    assert source(text).functions == 1


def test_the_process_that_measured_is_noted():
    assert measure("http://h/a.py", "text/plain", "utf-8", b"", worker=7).worker == 7


def test_python_is_told_by_its_type_where_the_address_is_silent():
    assert measure("http://h/raw?id=1", "text/x-python", "utf-8", b"def f(): pass\n").functions == 1


def test_other_text_is_measured_by_its_lines():
    finding = measure("http://h/a.txt", "text/plain", "utf-8", b"def f(): pass\nx\n")
    assert finding == Finding("http://h/a.txt", lines=2)


def test_examples_on_a_page_are_measured_and_their_lines_lead_to_them():
    text = "<h1>x</h1>\n<pre>\nclass A:\n    def f(self):\n        return 1 if x else 2\n</pre>\n"
    finding = html(text)
    assert finding.top == (Function("A.f", 4, 2),)
    assert (finding.lines, finding.code_lines, finding.classes) == (6, 3, 1)


def test_doctest_prompts_are_removed_and_output_is_no_code():
    text = "<pre><span>&gt;&gt;&gt; </span>def f():\n...     return 1\n&gt;&gt;&gt; f()\n1 is no code(\n</pre>"
    finding = html(text)
    assert (finding.functions, finding.code_lines) == (1, 3)


@pytest.mark.parametrize("block", ["$ pip install x", "word", "/usr/lib/python", "def f(:", "1 2 3", ""])
def test_blocks_that_are_no_program_are_not_measured(block):
    finding = html(f"<pre>{block}</pre>")
    assert (finding.functions, finding.code_lines, finding.error) == (0, 0, "")


def test_text_outside_of_examples_is_not_measured():
    assert html("<p>\ndef f(): pass\n</p><pre></pre>\ndef f(): pass\n").functions == 0


def test_broken_html_is_measured_as_far_as_it_goes():
    assert html("</pre><pre>def f(): pass\n<b></pre></pre>").functions == 1
