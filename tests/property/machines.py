"""How long state machines run: briefly in every test run, at length in a soak."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

if TYPE_CHECKING:
    from typing import Any

SOAK = int(os.environ.get("TASKQ_SOAK", "0"))  # examples of each machine, over all its kinds; 0 is no soak
TIMED = pytest.mark.timeout(0 if SOAK else 120)


def run_machine(
    machine: type,
    attributes: dict[str, Any],
    *,
    examples: int,
    kinds: int,
    steps: int,
    repeatable: bool = False,
) -> None:
    """Run one kind of a machine.

    Args:
        machine: the class.
        attributes: what makes it this kind.
        examples: how many in an ordinary run, over all kinds; a soak says its own number.
        kinds: how many there are.
        steps: rules an example, at most.
        repeatable: the same examples each time, and a failure is not made small.
    """
    run_state_machine_as_test(
        type(machine.__name__, (machine,), attributes),
        settings=settings(
            max_examples=-(-(SOAK or examples) // kinds),
            stateful_step_count=steps,
            deadline=None,
            database=None,
            phases=(Phase.generate,) if repeatable else (Phase.generate, Phase.shrink),
            derandomize=repeatable or (os.environ.get("CI") == "true" and not SOAK),  # a soak takes --hypothesis-seed
            suppress_health_check=list(HealthCheck),
            print_blob=True,
            report_multiple_bugs=not repeatable,
        ),
    )
