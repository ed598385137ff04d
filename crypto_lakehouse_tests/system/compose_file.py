"""Reads compose.yaml, and starts its services as processes of this machine.

Commands, variables, health checks and dependencies are those of the file. What containers bring is replaced: names of
services by 127.0.0.1, ports by free ones, folders of the image by temporary ones.
"""

from __future__ import annotations

import graphlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

ROOT = Path(__file__).parents[2]
FILE = ROOT / "compose.yaml"
_VARIABLE = re.compile(r"\$\$|\$\{(?P<name>\w+)(?:(?P<kind>:-|:\?)(?P<other>[^}]*))?\}")


def read_variables(text: str) -> dict[str, str]:
    """The variables of a file like .env."""
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    pairs = (line.partition("=") for line in lines)
    return {name: value.strip("'") for name, _, value in pairs}


def read_services(variables: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The services of compose.yaml with its variables replaced. Raises ValueError that names a missing one."""

    def value(match: re.Match[str]) -> str:
        if match["name"] is None:
            return "$"
        given = variables.get(match["name"], "")
        if not given and match["kind"] == ":?":
            raise ValueError(f"{match['name']}: {match['other']}")
        return given or match["other"] or ""

    def replaced(content: Any) -> Any:
        if isinstance(content, dict):
            return {name: replaced(part) for name, part in content.items()}
        if isinstance(content, list):
            return [replaced(part) for part in content]
        return _VARIABLE.sub(value, content) if isinstance(content, str) else content

    return replaced(yaml.safe_load(FILE.read_text(encoding="utf-8"))["services"])


@dataclass
class Machine:
    """This machine in the place of the containers."""

    services: Mapping[str, dict[str, Any]]
    folder: Path
    ports: Mapping[str, int]
    """Free ports by those of the file."""
    others: Mapping[str, str]
    """Other texts to replace, such as folders of the image."""
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def command(self, name: str) -> list[str]:
        """The command of a service, here."""
        service = self.services[name]
        return [self._here(word) for word in (*service.get("entrypoint", ()), *service.get("command", ()))]

    def environment(self, name: str) -> dict[str, str]:
        """The variables of a service, here: those of the file, and what any image has."""
        own = {key: self._here(value) for key, value in self.services[name].get("environment", {}).items()}
        # A name alone is that of a host only in these: a user may be called like a service.
        own |= {key: "127.0.0.1" for key, value in own.items() if key.endswith("_HOST") and value in self.services}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {"PATH": path, "HOME": str(self.folder), "XDG_DATA_HOME": str(self.folder / "data"), **own}

    def start(self, name: str) -> None:
        """Start a service in its own group of processes; its output goes to a file."""
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                self.command(name),
                cwd=self.folder,
                env=self.environment(name),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait(self, name: str) -> None:
        """Wait until the health check of a service passes. Raises AssertionError with its output if it has ended."""
        check = [self._here(word) for word in self.services[name]["healthcheck"]["test"][1:]]
        while subprocess.run(check, env=self.environment(name), cwd=self.folder, capture_output=True).returncode:
            process = self.processes.get(name)
            assert process is None or process.poll() is None, f"{name}:\n{self.log(name)}"
            time.sleep(0.5)

    def log(self, name: str) -> str:
        """The end of what a service has printed."""
        return (self.folder / f"{name}.log").read_text(errors="replace")[-4000:]

    @contextmanager
    def running(self, elsewhere: Iterable[str] = ()) -> Iterator[None]:
        """Start all services, each after those that it depends on are healthy. Those of ``elsewhere`` run already."""
        needs = {name: set(service.get("depends_on", ())) for name, service in self.services.items()}
        try:
            for name in graphlib.TopologicalSorter(needs).static_order():
                for other in needs[name]:
                    self.wait(other)
                if name not in elsewhere:
                    self.start(name)
            for name in self.services:
                self.wait(name)
            yield
        finally:
            self._stop()

    def _stop(self) -> None:
        for process in reversed(self.processes.values()):
            process.terminate()
        for process in reversed(self.processes.values()):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _here(self, text: str) -> str:
        for before, after in self.others.items():
            text = text.replace(before, after)
        with_ports = [name for name in self.services if name not in ("daemon", "worker", "proxy")]
        names = "|".join(with_ports)
        text = re.sub(rf"(?:^|(?<=[@/]))(?:{names})(?=:\d)|(?<==)(?:{names})$", "127.0.0.1", text)
        return re.sub(r"(?<![\w.])\d{4}(?!\w)", lambda match: str(self.ports.get(match[0], match[0])), text)


def missing_programs(services: Mapping[str, dict[str, Any]]) -> list[str]:
    """Programs of the services that are not installed here."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    commands = ((*s.get("entrypoint", ()), *s.get("command", ())) for s in services.values())
    checks = (service["healthcheck"]["test"][1:] for service in services.values())
    programs = {words[0] for words in (*commands, *checks) if words}
    return sorted(program for program in programs if shutil.which(program, path=path) is None)
