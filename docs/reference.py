"""Writes what the commands say of themselves into docs/commands.md: ``python docs/reference.py``.

Between ``<!-- generated: NAME -->`` and ``<!-- end -->`` everything is replaced; the rest is written by hand. A command
without such a place gets one at the end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click

from taskq.cli.main import commands

PAGE = Path(__file__).with_name("commands.md")
PLACE = re.compile(r"<!-- generated: (\S+) -->\n.*?<!-- end -->", re.DOTALL)
OVERVIEW = "overview"


def render(page: str) -> str:
    """Return the page with what the commands say now."""
    there = set(PLACE.findall(page))
    missing = [name for name in commands.commands if name not in there]
    page = page.rstrip("\n") + "".join(f"\n\n## taskq {name}\n\n{_place(name, '')}" for name in missing) + "\n"
    return PLACE.sub(lambda found: _place(found[1], _said_by(found[1])), page)


def _place(name: str, text: str) -> str:
    return f"<!-- generated: {name} -->\n{text}<!-- end -->"


def _said_by(name: str) -> str:
    if name == OVERVIEW:
        rows = [f"| [`taskq {one}`](#taskq-{one}) | {_about(command)} |" for one, command in commands.commands.items()]
        return "\n".join(["| command | does |", "|---|---|", *rows, ""])
    root = click.Context(commands, info_name="taskq", **commands.context_settings)
    return "\n".join(_section(commands.commands[name], name, root, "##"))


def _about(command: click.Command) -> str:
    short = command.get_short_help_str(limit=200).rstrip(".")
    return short[:1].lower() + short[1:]


def _section(command: click.Command, name: str, parent: click.Context, heading: str) -> Iterator[str]:
    with click.Context(command, parent=parent, info_name=name) as context:
        yield from ["```", context.get_usage().removeprefix("Usage: ").replace("\n ", ""), "```", ""]
        yield from [*_paragraphs(command.help or ""), ""]
        rows = [_row(one, context) for one in command.params if isinstance(one, click.Option) and one.name != "app"]
        if rows:
            yield from ["| option | meaning |", "|---|---|", *rows, ""]
    if isinstance(command, click.Group):
        for inner, one in command.commands.items():
            yield from [f"{heading}# {context.command_path} {inner}", ""]
            yield from _section(one, inner, context, f"{heading}#")


def _paragraphs(text: str) -> Iterator[str]:
    """Yield the help with each paragraph on one line and a blank one between."""
    for number, block in enumerate(re.split(r"\n\s*\n", text.strip())):
        if number:
            yield ""
        yield " ".join(block.split())


def _row(option: click.Option, context: click.Context) -> str:
    names, meaning = option.get_help_record(context) or (", ".join(option.opts), "")
    value = re.sub(r"^(?:-\S+ ?(?:[,/] )?)+", "", names).strip()
    shown = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
    return f"| {shown}{f' `{value}`' if value else ''} | {meaning.replace('|', chr(92) + '|')} |"


def main() -> None:
    """Write the page."""
    PAGE.write_text(render(PAGE.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
