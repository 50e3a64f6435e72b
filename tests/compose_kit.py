"""Reads docker-compose.yml as Compose does, so far as the file uses it, and starts its services as plain processes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
COMPOSE = ROOT / "docker-compose.yml"
DOCKERFILE = ROOT / "workers" / "Dockerfile"
VARIABLE = re.compile(r"\$\$|\$\{(\w+)(?::-([^}]*))?\}")


@dataclass(frozen=True)
class Service:
    """One service.

    Attributes:
        name: of the service.
        given: all of it, anchors and variables resolved.
    """

    name: str
    given: Mapping[str, Any]

    @property
    def command(self) -> list[str]:
        """The words of its command."""
        return list(self.given["command"])

    @property
    def environment(self) -> dict[str, str]:
        """The variables it sets."""
        return dict(self.given.get("environment", {}))

    @property
    def is_ours(self) -> bool:
        """Whether it runs our image."""
        return self.given["image"] == "taskq-demo"


def document(variables: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the whole file, its variables replaced by those given or their defaults."""
    known = variables or {}

    def fill(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: fill(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [fill(inner) for inner in value]
        if not isinstance(value, str):
            return value
        return VARIABLE.sub(lambda m: "$" if m[0] == "$$" else known.get(m[1]) or m[2] or "", value)

    return fill(yaml.safe_load(COMPOSE.read_text("utf-8")))


def services(variables: Mapping[str, str] | None = None) -> dict[str, Service]:
    """Return the services by name."""
    return {name: Service(name, given) for name, given in document(variables)["services"].items()}


def health_command(instruction: str) -> list[str]:
    """Return the words of an instruction ``HEALTHCHECK ... CMD [...]`` of a Dockerfile."""
    return list(json.loads(instruction.partition(" CMD ")[2]))


def instructions(name: str) -> list[str]:
    """Return the instructions of that name of the Dockerfile, in order, each as one line without the name."""
    text = "\n".join(line for line in DOCKERFILE.read_text("utf-8").splitlines() if not line.startswith("#"))
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [" ".join(line.split()[1:]) for line in lines if line.startswith(f"{name} ")]
