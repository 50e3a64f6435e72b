"""``taskq acl``: the rights that a user of the server needs."""

from __future__ import annotations

import re

import click

from taskq.cli import output
from taskq.cli.target import app_option, load_any_app
from taskq.errors import InvalidOption, shorten

USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # one word of the rule, whatever reads it
ROLES = ("producer", "worker", "reader", "admin")


@click.command(short_help="Print the access rule of a user of the server.")
@app_option
@click.argument("role", type=click.Choice(ROLES))
@click.option("--namespace", metavar="NAME", help="First part of the keys. Default: the app's.")
@click.option("--user", metavar="NAME", help="The user's name. Default: taskq-ROLE.")
@click.option("--json", "json_", is_flag=True, help="Print one JSON object.")
def acl(*, role: str, namespace: str | None, user: str | None, json_: bool) -> None:
    """Print the ACL SETUSER command for a producer, a worker, a reader or an admin.

    It names every command, key and channel that the role needs, and takes all other rights away. A password is not part
    of it: the user's passwords stay as they are, and a new user has none and cannot log in yet. Nothing is written to
    the server.
    """
    from taskq.broker.acl import ROLES as ABOUT
    from taskq.broker.acl import rule

    name = f"taskq-{role}" if user is None else user
    if USER.fullmatch(name) is None:
        way_out = "1 to 64 letters, digits, '.', '_' or '-', the first a letter or digit"
        raise InvalidOption(f"--user {shorten(name)} cannot be used: {way_out}")
    where = load_any_app(connects=False).settings.namespace if namespace is None else namespace
    text = rule(role, where, name)
    if json_:
        output.emit({"role": role, "about": ABOUT[role].about, "user": name, "namespace": where, "rule": text})
    else:
        output.say(text)
