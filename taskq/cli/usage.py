"""Groups of commands."""

from __future__ import annotations

import difflib

import click


class Commands(click.Group):
    """A group that names the nearest command to one it does not have."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that ``args`` begin with; raises a usage error for an unknown one."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-") and not ctx.resilient_parsing:
            near = difflib.get_close_matches(name, self.list_commands(ctx), 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(self.list_commands(ctx))}"
            raise click.UsageError(f"no such command: {name!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)
