"""Measuring a page: lines, functions, classes and the cyclomatic complexity of each function, by ``ast``."""

from __future__ import annotations

import ast
import heapq
import io
import tokenize
import warnings
from dataclasses import dataclass
from html.parser import HTMLParser

from workers.web import decode, is_python

TOP = 10  # functions kept per page: as many as the report shows, should they all be in one page
PROMPTS = (">>> ", "... ")
BRANCHES = (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler)


@dataclass(frozen=True, slots=True)
class Function:
    """One function: its dotted name within the page, its line, and its cyclomatic complexity (1 without a branch)."""

    name: str
    line: int
    complexity: int


@dataclass(frozen=True, slots=True)
class Finding:
    """What was measured on one page.

    ``code_lines`` are neither blank nor comments. ``complexity`` is the sum over all functions, ``top`` the most
    complex ones. ``error`` says why nothing could be parsed. ``worker`` is the process that measured, 0 for none.
    """

    url: str
    lines: int = 0
    code_lines: int = 0
    functions: int = 0
    classes: int = 0
    complexity: int = 0
    top: tuple[Function, ...] = ()
    error: str = ""
    worker: int = 0


def measure(url: str, content_type: str, charset: str, body: bytes, worker: int = 0) -> Finding:
    """Measure one page: Python as source, HTML by the Python examples on it, other text by its lines.

    What cannot be decoded or parsed is a finding with an ``error``, never an exception.
    """
    if content_type in {"text/html", "application/xhtml+xml"}:
        return _measure_html(url, decode(body, charset), worker)
    if is_python(url) or content_type == "text/x-python":
        return _measure_source(url, body, worker)
    lines = _lines(decode(body, charset))
    return Finding(url, lines=len(lines), worker=worker)


def _measure_source(url: str, body: bytes, worker: int) -> Finding:
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(body).readline)
        text = body.decode(encoding)
    except (SyntaxError, UnicodeDecodeError, LookupError) as error:
        return Finding(url, lines=_line_count(body), error=_line(error), worker=worker)
    lines = _lines(text)
    code = sum(1 for line in lines if (bare := line.strip()) and not bare.startswith("#"))
    try:
        tree = _parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return Finding(url, lines=len(lines), code_lines=code, error=_line(error), worker=worker)
    functions, classes = _functions(tree)
    return _finding(url, len(lines), code, functions, classes, worker)


def _measure_html(url: str, text: str, worker: int) -> Finding:
    page = _Examples()
    page.feed(text)
    page.close()
    code, classes = 0, 0
    functions: list[Function] = []
    for line, block in page.blocks:
        source, tree = _example(block)
        if tree is None:
            continue
        found, count = _functions(tree)
        functions += [Function(f.name, line + f.line - 1, f.complexity) for f in found]
        classes += count
        code += sum(1 for row in _lines(source) if row.strip())
    return _finding(url, len(_lines(text)), code, functions, classes, worker)


def _finding(url: str, lines: int, code: int, functions: list[Function], classes: int, worker: int) -> Finding:
    top = heapq.nlargest(TOP, functions, key=lambda f: (f.complexity, -f.line))
    total = sum(f.complexity for f in functions)
    return Finding(url, lines, code, len(functions), classes, total, tuple(top), worker=worker)


def _parse(text: str) -> ast.Module:
    with warnings.catch_warnings():
        # Invalid escapes in somebody else's source are not ours to report.
        warnings.simplefilter("ignore")
        return ast.parse(text)


def _lines(text: str) -> list[str]:
    # Not str.splitlines: it also splits at form feeds, which Python's own sources contain.
    lines = io.StringIO(text, newline=None).read().split("\n")
    return lines if lines[-1] else lines[:-1]


def _line_count(body: bytes) -> int:
    return body.count(b"\n") + (not body.endswith(b"\n") and bool(body))


def _line(error: BaseException) -> str:
    text = str(error).replace("\n", " ")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _functions(tree: ast.AST) -> tuple[list[Function], int]:
    """All functions of a tree with their complexity, and the number of classes.

    A nested function counts apart from the one around it. With a stack of our own, as generated sources are nested
    deeper than Python may recurse.
    """
    names: list[tuple[str, int]] = [("", 0)]
    counts = [1]
    classes = 0
    stack: list[tuple[ast.AST, int, str]] = [(tree, 0, "")]
    while stack:
        node, owner, prefix = stack.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names.append((prefix + node.name, node.lineno))
            counts.append(1)
            owner, prefix = len(names) - 1, f"{prefix}{node.name}."
        elif isinstance(node, ast.ClassDef):
            classes += 1
            prefix = f"{prefix}{node.name}."
        else:
            counts[owner] += _branches(node)
        stack += [(child, owner, prefix) for child in ast.iter_child_nodes(node)]
    # Entry 0 is the code outside all functions.
    rows = zip(names[1:], counts[1:], strict=True)
    return [Function(name, line, count) for (name, line), count in rows], classes


def _branches(node: ast.AST) -> int:
    """The ways that ``node`` adds to its function's flow, after McCabe: one per decision, operators included."""
    if isinstance(node, BRANCHES):
        return 1
    if isinstance(node, ast.BoolOp):
        return len(node.values) - 1
    if isinstance(node, ast.comprehension):
        return 1 + len(node.ifs)
    if isinstance(node, ast.match_case):
        # `case _:` is the else of a match.
        wild = isinstance(node.pattern, ast.MatchAs) and node.pattern.pattern is None and node.guard is None
        return 0 if wild else 1
    return 0


class _Examples(HTMLParser):
    """Collects the text of ``<pre>`` blocks with the line where each begins."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks: list[tuple[int, str]] = []
        self._depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 (the parser's contract)
        if tag == "pre":
            self._depth += 1
            self.blocks.append((self.getpos()[0], ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == "pre" and self._depth:
            self._depth -= 1

    def handle_data(self, data: str) -> None:
        if self._depth:
            line, text = self.blocks[-1]
            self.blocks[-1] = (line, text + data)


def _example(block: str) -> tuple[str, ast.Module | None]:
    """A block's Python, without doctest prompts and output, and its tree; None when it is something else."""
    prompted = any(line.startswith(PROMPTS[0]) for line in _lines(block))
    if prompted:
        # Output becomes blank lines, so that line numbers still lead to the function.
        block = "\n".join(line[4:] if line.startswith(PROMPTS) else "" for line in _lines(block))
    try:
        tree = _parse(block)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return block, None
    # Much that is no program parses as one: a word, a path, a table of numbers. A program has a statement.
    program = prompted or any(not isinstance(statement, ast.Expr) for statement in tree.body)
    return block, tree if program else None
