"""``taskq doctor``: whether the server keeps jobs safe."""

from __future__ import annotations

import click

from taskq.cli import exits, output
from taskq.cli.target import app_option, load_any_app


@click.command(short_help="Check whether the server keeps jobs safe.")
@app_option
@click.option("--json", "json_", is_flag=True, help="Print one JSON object.")
def doctor(*, json_: bool) -> int:
    """Check whether the server is one that keeps jobs safe.

    Prints a line per finding: ok, warn or refuse. Exits 3 if there is anything to refuse; a worker makes the same
    checks and does not start then. Nothing is written to the server.
    """
    from taskq.broker.doctor import examine
    from taskq.broker.session import reply_timeout

    app = load_any_app()
    patience = app.settings.call_deadline
    link = app.broker.link(timeout=reply_timeout(patience))
    try:
        findings = examine(link, app.settings.namespace, None, patience)
    finally:
        link.close()
    refused = any(finding.level == "refuse" for finding in findings)
    if json_:
        listed = [{"level": one.level, "name": one.name, "text": one.text} for one in findings]
        output.emit({"server": str(link.address), "usable": not refused, "findings": listed})
    else:
        for one in findings:
            output.say_columns((one.level, 6), (one.name, 13), (one.text, 0))
    return exits.UNFIT if refused else exits.OK
