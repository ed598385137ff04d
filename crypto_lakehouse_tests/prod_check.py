"""Checks of the files of deployments (``make prod-check``): parses and lints them, and names what it skipped.

The linters come from PyPI and npm, in an environment of their own in the user's cache. What cannot be installed, and
programs that are missing here (tofu, helm), are skipped with the reason. Rules about the content are unit tests.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml  # type: ignore[import-untyped]

ROOT = Path(__file__).parents[1]
REQUIREMENTS = ROOT / "deploy" / "check" / "requirements.txt"
DCLINT = "dclint@3.1.0"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "crypto-lakehouse" / "prod-check"
CHART = ("dagster", "https://dagster-io.github.io/helm")


class SkippedError(Exception):
    """A check cannot run here; the text says why."""


class FailedError(Exception):
    """A check has found something; the text is what."""


@dataclass(frozen=True, slots=True)
class Check:
    """A check and its name."""

    name: str
    run: Callable[[], str]


def _run(command: list[str], folder: Path = ROOT, **variables: str) -> str:
    """What a command prints. Raises FailedError with that if it fails."""
    done = subprocess.run(command, cwd=folder, env={**os.environ, **variables}, capture_output=True, text=True)
    if done.returncode:
        raise FailedError((done.stdout + done.stderr).strip()[-3000:])
    return done.stdout


def _tool(name: str) -> str:
    """A program of the environment from PyPI, which is installed first if it is not in the cache."""
    digest = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]
    folder = CACHE / f"python-{sys.version_info.major}.{sys.version_info.minor}-{digest}"
    ready = folder / ".ready"
    if not ready.exists():
        shutil.rmtree(folder, ignore_errors=True)
        try:
            _run([sys.executable, "-m", "venv", str(folder)])
            _run([str(folder / "bin" / "pip"), "install", "--quiet", "--requirement", str(REQUIREMENTS)])
        except FailedError as error:
            raise SkippedError(f"its packages cannot be installed: {str(error).splitlines()[-1]}") from None
        ready.touch()
    return str(folder / "bin" / name)


def _dclint() -> str:
    """The program of npm, installed as above."""
    folder = CACHE / DCLINT
    program = folder / "node_modules" / ".bin" / "dclint"
    if shutil.which("npm") is None:
        raise SkippedError("npm is not installed")
    if not program.exists():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            _run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), DCLINT], folder)
        except FailedError as error:
            raise SkippedError(f"npm cannot install it: {str(error).splitlines()[-1:]}") from None
    return str(program)


def _program(*names: str) -> str:
    for name in names:
        if shutil.which(name):
            return name
    raise SkippedError(f"{' or '.join(names)} is not installed")


def _checkov(*arguments: str) -> str:
    """The counts of checkov. Raises FailedError that names failed rules, and files that it cannot parse."""
    command = [_tool("checkov"), *arguments, "--output", "json", "--skip-download", "--soft-fail", "--quiet"]
    report = json.loads(_run(command, LOG_LEVEL="ERROR"))
    summary = report["summary"]
    failed = [f"{one['check_id']} {one['resource']}: {one['check_name']}" for one in report["results"]["failed_checks"]]
    unparsed = report["results"].get("parsing_errors", [])
    if failed or unparsed:
        raise FailedError("\n".join([*failed, *(f"cannot parse {path}" for path in unparsed)]))
    if not summary["passed"]:
        raise FailedError("checkov has found nothing to check")
    return f"{summary['passed']} rules hold, {summary['skipped']} do not apply, with reasons in the files"


def _hadolint() -> str:
    return _run([_tool("hadolint"), "Dockerfile"])


def _checkov_dockerfile() -> str:
    # The base has a version, but in an argument, which checkov does not read; a test does.
    return _checkov("--file", "Dockerfile", "--framework", "dockerfile", "--skip-check", "CKV_DOCKER_7")


def _checkov_terraform() -> str:
    return _checkov("--directory", "deploy/terraform", "--framework", "terraform")


def _compose_schema() -> str:
    return _run([_tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", "compose.yaml"])


def _compose_lint() -> str:
    return _run([_dclint(), "--config", "deploy/check/dclintrc.yaml", "compose.yaml"])


def _yaml_files() -> str:
    paths = [ROOT / "compose.yaml", ROOT / "dagster.yaml", *sorted((ROOT / "deploy").rglob("*.yaml"))]
    for path in paths:
        try:
            yaml.safe_load(path.read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            raise FailedError(f"{path.relative_to(ROOT)}: {error}") from None
    return f"{len(paths)} files"


def _terraform_format() -> str:
    return _run([_program("tofu", "terraform"), "fmt", "-check", "-diff", "-recursive", "deploy/terraform"])


def _terraform_validate() -> str:
    program = _program("tofu", "terraform")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "terraform"
        shutil.copytree(ROOT / "deploy" / "terraform", folder)
        try:
            _run([program, "init", "-backend=false", "-input=false"], folder)
        except FailedError:
            raise SkippedError(f"{program} cannot fetch the provider of AWS here") from None
        return _run([program, "validate"], folder)


def _helm_template() -> str:
    program, (chart, repository) = _program("helm"), CHART
    locked = next(
        line.split("==")[1].split()[0]
        for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
        if line.startswith("dagster==")
    )
    with tempfile.TemporaryDirectory() as folder:
        pull = [program, "pull", chart, "--repo", repository, "--version", locked, "--untar", "--destination", folder]
        try:
            _run(pull)
        except FailedError:
            raise SkippedError(f"helm cannot fetch the chart {chart} {locked} here") from None
        rendered = _run([program, "template", "check", str(Path(folder) / chart), "-f", "deploy/helm/values.yaml"])
    return f"{len(list(yaml.safe_load_all(rendered)))} objects"


CHECKS = (
    Check("YAML files", _yaml_files),
    Check("Dockerfile: hadolint", _hadolint),
    Check("Dockerfile: checkov", _checkov_dockerfile),
    Check("compose.yaml: schema", _compose_schema),
    Check("compose.yaml: dclint", _compose_lint),
    Check("Terraform: format", _terraform_format),
    Check("Terraform: checkov", _checkov_terraform),
    Check("Terraform: validate", _terraform_validate),
    Check("Helm: template", _helm_template),
)


def results() -> Iterator[tuple[str, str, str]]:
    """(state, name, what it said) of each check: ``ok``, ``skipped`` or ``FAILED``."""
    for check in CHECKS:
        try:
            yield "ok", check.name, check.run().strip()
        except SkippedError as error:
            yield "skipped", check.name, str(error)
        except FailedError as error:
            yield "FAILED", check.name, str(error)


def main() -> int:
    """Print the results. Returns 1 if a check has failed, 0 otherwise."""
    has_failed = False
    for state, name, said in results():
        has_failed |= state == "FAILED"
        text = f": {said}" if said and (state != "ok" or "\n" not in said) else ""
        print(f"{state:8}{name}{text}", flush=True)
    return int(has_failed)


if __name__ == "__main__":
    sys.exit(main())
