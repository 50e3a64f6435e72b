"""``taskq fsck``: whether what is in Redis is as it must be, and what can be put right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from taskq.cli import complete, exits, output
from taskq.cli.target import app_option, load_any_app

if TYPE_CHECKING:
    from taskq.broker.findings import Finding


@click.command(short_help="Check what is in Redis, and repair it.")
@app_option
@click.argument("queues", nargs=-1, metavar="[QUEUE]...", shell_complete=complete.words(complete.queues))
@click.option("--strict", is_flag=True, help="Nothing runs or waits: find what is left over from that, too.")
@click.option("--repair", is_flag=True, help="Put right what needs no guess.")
@click.option("--json", "json_", is_flag=True, help="Print one JSON object a finding.")
def fsck(*, queues: tuple[str, ...], strict: bool, repair: bool, json_: bool) -> int:
    """Check that every job is in one place, and that nothing is damaged or left over: in each QUEUE, or everywhere.

    Jobs may come and run meanwhile. Prints a line per finding. Exits 0 if there is none or all are repaired, 1 if any
    is left.
    """
    app, left, done = load_any_app(), 0, 0
    for finding in app.inspect.fsck(queue=queues, strict=strict):
        repaired = app.control.repair(finding) if repair and finding.repair else None
        left, done = left + (not repaired), done + bool(repaired)
        _tell(finding, repaired, json_)
    if not json_:
        output.say(
            "nothing is wrong" if not left + done else f"{left:,} left" + (f", {done:,} repaired" if repair else "")
        )
    return exits.FAILED if left else exits.OK


def _tell(finding: Finding, repaired: bool | None, json_: bool) -> None:
    if json_:
        output.emit({
            "invariant": finding.invariant, "queue": finding.queue, "id": finding.id, "text": finding.text,
            "repair": finding.repair or None, "repaired": bool(repaired),
        })  # fmt: skip
        return
    said = ""
    if repaired is not None:
        said = f"; repaired: {finding.repair}" if repaired else "; not repaired, as it has changed meanwhile"
    elif finding.repair:
        said = f"; could be repaired: {finding.repair}"
    output.say_columns((finding.invariant, 15), (f"{finding.text}{said}", 0))
