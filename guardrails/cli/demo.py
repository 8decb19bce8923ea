"""`guardrails demo`: the main job, shown in the terminal or as JSON Lines.

Exit status: 0 everything went as the scenes want, 1 something did not, 2 usage.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import cast

import click

from guardrails.demo.agents import CLIENTS
from guardrails.demo.play import play
from guardrails.demo.scenes import AgentKind
from guardrails.demo.screen import ScreenTeller
from guardrails.demo.story import JsonTeller, Teller

__all__ = ["demo"]

_ALL = "all"
_PAUSE_S = 0.35


@click.command()
@click.option("--agent", type=click.Choice([*CLIENTS, _ALL]), default=_ALL, show_default=True, help="Who plays the scenes.")
@click.option(
    "--keep", type=click.Path(path_type=Path), metavar="DIR", help="Leave the databases and the policy in this folder."
)
@click.option("--pause", "pause_s", type=click.FloatRange(0, 60), metavar="SECONDS", help="Rest after each step.")
@click.option("--fast", "is_fast", is_flag=True, help="Do not rest; the default without a terminal.")
@click.option("--json", "is_json", is_flag=True, help="Write JSON Lines.")
def demo(agent: str, keep: Path | None, pause_s: float | None, is_fast: bool, is_json: bool) -> None:
    """Show agents at work on a guarded shop database."""
    if pause_s is None:
        pause_s = 0.0 if is_fast or not sys.stdout.isatty() else _PAUSE_S
    teller: Teller = JsonTeller(sys.stdout) if is_json else ScreenTeller(pause_s)
    agents = () if agent == _ALL else (cast(AgentKind, agent),)
    sys.exit(0 if play(teller, agents, keep) else 1)
