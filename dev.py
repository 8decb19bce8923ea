#!/usr/bin/env python3
"""One entry point for everything: sets up `.venv` beside this file when needed, then runs a task in it.

    python3 dev.py demo      install what users install, and play the demo
    python3 dev.py test      install what developers need, and run the tests (further arguments go to pytest)
    python3 dev.py format | lint | types | docs | check

Needs Python 3.11 or newer and nothing else.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")

TASKS: dict[str, list[list[str]]] = {
    "demo": [["guardrails", "demo"]],
    "test": [["pytest", "-n", "2"]],
    "format": [["ruff", "format", "."], ["ruff", "check", "--fix", "."]],
    "lint": [["ruff", "format", "--check", "."], ["ruff", "check", "."], ["lint-imports", "--no-cache"]],
    "types": [["mypy"]],
    "docs": [["python", "tools/generate_docs.py"]],
}
TASKS["check"] = TASKS["lint"] + TASKS["types"] + TASKS["test"]
HELP = {
    "demo": "play the demo on embedded SQLite",
    "test": "run the whole suite",
    "format": "format, and mend what can be mended",
    "lint": "style and import contracts",
    "types": "mypy --strict",
    "docs": "regenerate the generated pages",
    "check": "lint, types and tests",
}


def main(arguments: list[str]) -> int:
    if sys.version_info < (3, 11):  # noqa: UP036 - this file must say so itself on an older Python
        print("error: Python 3.11 or newer is needed; this is " + sys.version.split()[0], file=sys.stderr)
        return 2
    if not arguments or arguments[0] not in TASKS:
        print(__doc__, file=sys.stderr)
        for name, text in HELP.items():
            print(f"  {name:<8}{text}", file=sys.stderr)
        return 2
    task, rest = arguments[0], arguments[1:]
    set_up(is_user=task == "demo")
    commands = TASKS[task]
    for index, command in enumerate(commands):
        extra = rest if index == len(commands) - 1 else []
        status = subprocess.run([str(BIN / command[0]), *command[1:], *extra], cwd=ROOT, check=False).returncode
        if status:
            return status
    return 0


def set_up(*, is_user: bool) -> None:
    """Makes the environment and installs into it, once for each state of pyproject.toml."""
    stamp = VENV / ".installed"
    state = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    installed = stamp.read_text().split() if stamp.exists() else []
    wanted = [state, "user" if is_user else "dev"]
    if installed and installed[0] == state and (is_user or installed[1] == "dev"):
        return
    if not has_pip():
        print("making .venv …", file=sys.stderr)
        # Without ensurepip a first try leaves a .venv that has Python and no pip: it is made anew, not taken for whole.
        command = [sys.executable, "-m", "venv", "--clear", str(VENV)]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode:
            hint = "On Debian and Ubuntu install the package python3-venv." if "ensurepip" in made.stdout + made.stderr else ""
            sys.exit(f"error: the virtual environment cannot be made. {hint}\n{made.stderr or made.stdout}")
    print("installing …", file=sys.stderr)
    pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    run([*pip, "--upgrade", "pip>=25.1"])
    run([*pip, "--editable", f"{ROOT}[all]", *([] if is_user else ["--group", f"{ROOT / 'pyproject.toml'}:dev"])])
    stamp.write_text(" ".join(wanted))


def has_pip() -> bool:
    """Tells whether the environment is whole enough to install into."""
    if not PYTHON.exists():
        return False
    return subprocess.run([str(PYTHON), "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0


def run(command: list[str]) -> None:
    if subprocess.run(command, cwd=ROOT, check=False).returncode:
        sys.exit("error: installing failed; see above.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
