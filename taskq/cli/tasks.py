"""``taskq tasks`` and ``taskq config``: what an app has, and what it was told."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import click

from taskq.cli import output
from taskq.cli.target import app_option, load_any_app, load_app

if TYPE_CHECKING:
    from taskq.app import TaskQ
    from taskq.client.task import Task


@click.command(short_help="List the tasks of the app.")
@app_option
@click.option("--json", "json_", is_flag=True, help="Print one JSON object a task.")
def tasks(*, json_: bool) -> None:
    """List the tasks of the app: how each is called, its queue, its options and what its docstring begins with."""
    app = load_app(connects=False)
    found = [_describe(app.tasks[name]) for name in sorted(app.tasks)]
    if json_:
        for one in found:
            output.emit(one)
        return
    output.table(
        "Tasks",
        ["call", "queue", "options", "about"],
        [
            (one["call"], one["queue"], " ".join(f"{key}={value}" for key, value in one["options"].items()), one["doc"])
            for one in found
        ],
    )


def _describe(task: Task[..., Any]) -> dict[str, Any]:
    doc = inspect.getdoc(task.function) or ""
    retry = task.retry
    options: dict[str, Any] = {
        "max_retries": retry.max_retries or None,
        "retry_on": ",".join(kind.__name__ for kind in task.retry_types) if retry.max_retries else None,
        "priority": task.priority,
        "time_limit": task.time_limit,
        "expires": task.expires,
        "ignore_result": task.ignore_result or None,
        "result_ttl": task.result_ttl if task.result_ttl != task.app.settings.result_ttl else None,
        "serializer": task.codec.name or None,
    }
    return {
        "name": task.name,
        "call": f"{task.name}{_parameters(task)}",
        "queue": task.queue,
        "async": task.is_async,
        "options": {key: value for key, value in options.items() if value is not None},
        "doc": doc.partition("\n")[0],
    }


def _parameters(task: Task[..., Any]) -> str:
    try:
        signature = inspect.signature(task.function, eval_str=True)  # no quotes around what is written as a text
    except Exception:  # a name of annotations that is imported for type checkers alone
        signature = inspect.signature(task.function)
    if task.bind:
        signature = signature.replace(parameters=list(signature.parameters.values())[1:])
    return str(signature)


@click.command(short_help="Show the settings in effect, and where each came from.")
@app_option
@click.option("--json", "json_", is_flag=True, help="Print one JSON object a setting.")
def config(*, json_: bool) -> None:
    """Show the settings in effect, and where each came from; of the url without user and password."""
    found = _settings(load_any_app(connects=False))
    if json_:
        for name, value, source in found:
            output.emit({"name": name, "value": value, "source": source})
        return
    output.table(
        "Settings", ["name", "value", "source"], [(name, _shown(value), source) for name, value, source in found]
    )


def _settings(app: TaskQ) -> list[tuple[str, Any, str]]:
    from taskq.broker.address import parse_url

    found = []
    for field in fields(app.settings):
        if field.name == "sources":
            continue
        value = getattr(app.settings, field.name)
        if field.name == "url":
            value = str(parse_url(value)) if value else ""
        elif field.name == "exceptions":
            value = [f"{kind.__module__}.{kind.__qualname__}" for kind in value]
        found.append((field.name, value, app.settings.sources.get(field.name, "default")))
    return found


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return ", ".join(value)
    return str(value)
