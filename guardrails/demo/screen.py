"""The teller for people: one panel a statement, from what the agent wrote to the leaf it is signed into.

Without a terminal, or with NO_COLOR, the same panels come as plain text. Text that agents and tables bring is printed as text:
neither markup nor control sequences of theirs are acted on.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable

from rich.box import ROUNDED, SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.rule import Rule
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from guardrails.demo.agents import CLIENTS
from guardrails.demo.scenes import AgentKind, Scene
from guardrails.demo.story import Answered, Flip, Step
from guardrails.ledger.note import base64_text
from guardrails.ledger.report import Report
from guardrails.model import Access, ColumnRef, Decision, Result

__all__ = ["ScreenTeller"]

_WIDTH = 100
_SHOWN_ROWS = 5
_SHOWN_NAMES = 8
_MUTED = "bright_black"
_MASKED = "magenta"
_MASK_CALL = re.compile(r"CAST\((guardrails_mask_\w+)\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\) AS \w+\)")
"""A mask in the statement that ran: its arguments are long and always the same."""
_COLOURS = {"allow": "green", "deny": "red", "approve": "yellow"}


class ScreenTeller:
    """Prints the story.

    Args:
        pause_s: Seconds to rest after each step, so that a recording can be read.
        console: Where to print; standard output at a width of 100 when None.
    """

    def __init__(self, pause_s: float = 0.0, console: Console | None = None) -> None:
        self._console = console or Console(width=_WIDTH, highlight=False)
        self._pause_s = pause_s

    def opening(self, folder: str, agents: tuple[AgentKind, ...]) -> None:
        names = ", ".join(CLIENTS[agent] for agent in agents)
        lines = Table.grid(padding=(0, 2))
        lines.add_column(style=_MUTED)
        lines.add_column()
        lines.add_row("database", f"{folder}/shop.db (SQLite: customers, orders, payments, employees, tickets)")
        lines.add_row("policy", f"{folder}/policy.yaml")
        lines.add_row("ledger", f"{folder}/audit.db (RFC 6962 tree, Ed25519)")
        lines.add_row("agents", f"{names}, over a scripted model on loopback")
        self._print(Panel(lines, title="guardrails demo", title_align="left", box=ROUNDED, border_style="cyan"))

    def scene(self, number: int, scene: Scene, agent: AgentKind) -> None:
        self._print()
        self._print(Rule(Text(f" {number}  {scene.title} ", style="bold"), align="left", style="cyan"))
        who = f"{scene.principal.id} through the {CLIENTS[agent]} agent, purpose {scene.purpose}"
        self._print(Padding(Text(who, style=_MUTED), (0, 0, 0, 1), expand=False))

    def asks(self, text: str) -> None:
        self._speech("person", text)

    def says(self, text: str) -> None:
        self._speech("agent", text)

    def step(self, step: Step) -> None:
        colour = _COLOURS["allow" if step.result else "approve" if step.code == "approval.required" else "deny"]
        grid = Table.grid(padding=(0, 2), expand=True)
        grid.add_column(style=_MUTED, width=10, no_wrap=True)
        grid.add_column(ratio=1, overflow="fold")
        grid.add_row("wrote", _sql(step.sql))
        if step.decision.access and step.decision.access.kind != "other":
            grid.add_row("understood", _understood(step.decision.access))
        grid.add_row("decided", _decided(step, colour))
        if step.result and step.decision.sql:
            grid.add_row("ran", _sql(_MASK_CALL.sub(r"\1(...)", step.decision.sql)))
            grid.add_row("came back", _came_back(step.result, step.decision))
        if step.leaf:
            grid.add_row("signed", Text(_signed(step), style="cyan"))
        self._print(Panel(grid, box=ROUNDED, border_style=colour))
        self._rest()

    def approval(self, answered: Answered) -> None:
        is_counted = answered.code == "ok"
        colour = _COLOURS["allow" if is_counted else "deny"]
        text = Text().append(f"{answered.by} says yes: ", style=colour)
        text.append(
            "approved" if is_counted else f"does not count ({answered.code}) {answered.message}", style=f"bold {colour}"
        )
        text.append(f"\nrequest {answered.request.id[:8]}, bound to digest {answered.request.digest[:12]}", style=_MUTED)
        if is_counted:
            text.append(f", reason: {answered.reason}", style=_MUTED)
        self._print(Panel(text, title="approval", title_align="left", box=ROUNDED, border_style=colour))
        self._rest()

    def answer(self, text: str) -> None:
        self._speech("agent", text)
        self._rest()

    def checkpoint(self, note: str) -> None:
        self._print()
        self._print(Rule(Text(" The ledger ", style="bold"), align="left", style="cyan"))
        origin, size, root, _, signature = note.rstrip("\n").split("\n", 4)
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style=_MUTED)
        grid.add_column(overflow="fold")
        rows = (("origin", origin), ("entries", size), ("root hash", root), ("signature", signature))
        for name, value in rows:
            grid.add_row(name, _printable(value))
        self._print(Panel(grid, title="signed checkpoint", title_align="left", box=ROUNDED, border_style="cyan"))

    def verified(self, report: Report) -> None:
        self._verdict("guardrails ledger verify", report)
        self._rest()

    def tampered(self, flip: Flip, report: Report) -> None:
        text = Text().append(f"byte {flip.offset} of a copy, in entry {flip.entry}: ", style=_MUTED)
        text.append(f"…{flip.context[0]}…").append("  becomes  ", style=_MUTED)
        text.append(f"…{flip.context[1]}…", style="bold red")
        self._print()
        self._print(Padding(text, (0, 0, 0, 1), expand=False))
        self._verdict("guardrails ledger verify, on the copy", report)

    def closing(self, is_as_wanted: bool, kept: str | None) -> None:
        self._print()
        if not is_as_wanted:
            self._print(Text("Some steps did not end as the scenes want.", style="bold red"))
        if kept:
            check = f'guardrails check --policy {kept}/policy.yaml --database sqlite:///{kept}/shop.db "SELECT 1"'
            self._print(Text(f"Kept in {kept}. Try: {check}", style=_MUTED))

    def _verdict(self, title: str, report: Report) -> None:
        colour = "green" if report.is_verified else "red"
        text = Text().append("VERIFIED" if report.is_verified else "NOT VERIFIED", style=f"bold {colour}")
        text.append(f"  {report.size} entries, root {base64_text(report.root)}")
        for problem in report.problems[:_SHOWN_ROWS]:
            text.append(f"\n{problem}", style=colour)
        if report.problem_count > _SHOWN_ROWS:
            text.append(f"\nand {report.problem_count - _SHOWN_ROWS} more that follow from it", style=_MUTED)
        self._print(Panel(text, title=title, title_align="left", box=ROUNDED, border_style=colour))

    def _speech(self, who: str, text: str) -> None:
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style=_MUTED, width=10, no_wrap=True)
        grid.add_column(overflow="fold")
        grid.add_row(who, _printable(text, style="bold" if who == "person" else ""))
        self._print(Padding(grid, (0, 0, 0, 1), expand=False))

    def _print(self, *items: RenderableType) -> None:
        self._console.print(*items)

    def _rest(self) -> None:
        if self._pause_s:
            time.sleep(self._pause_s)


def _sql(text: str) -> RenderableType:
    return Syntax(_printable(text).plain, "sql", theme="ansi_dark", background_color="default", word_wrap=True)


def _understood(access: Access) -> Text:
    text = Text().append(access.kind, style="bold")
    parts = (("reads", _by_relation(access.reads)), ("writes", _by_relation(access.writes)), ("calls", access.functions))
    for label, names in parts:
        if names:
            text.append(f"  {label} ", style=_MUTED).append(_printable(_listed(names)))
    return text


def _by_relation(columns: Iterable[ColumnRef]) -> list[str]:
    """Returns `relation (column, column)` for each relation."""
    found: dict[str, list[str]] = {}
    for column in columns:
        found.setdefault(column.relation, []).append(column.column)
    return [f"{relation} ({_listed(names)})" for relation, names in found.items()]


def _decided(step: Step, colour: str) -> Text:
    decision = step.decision
    if step.code == "approval.required":
        groups = decision.obligations.approval.groups if decision.obligations.approval else ()
        return Text().append("waits", style=f"bold {colour}").append(f" for somebody of {', '.join(groups) or 'the approvers'}")
    if step.result is None:
        text = Text().append("refused ", style=f"bold {colour}").append(step.code, style=colour)
        for reason in decision.reasons:
            text.append("\n").append(_printable(f"{reason.message} {reason.hint}"))
        return text
    text = Text().append("approved" if decision.effect == "approve" else "allowed", style=f"bold {colour}")
    reads = decision.access.reads if decision.access else ()
    masks = [f"{m.column} ({m.kind})" for m in decision.obligations.masks if m.column in reads]
    filters = [f"{f.relation}: {f.predicate}" for f in decision.obligations.row_filters]
    for label, names in (("by", decision.rules), ("masks", masks), ("rows of", filters)):
        if names:
            text.append(f"  {label} ", style=_MUTED).append(_printable(_listed(names)))
    return text


def _came_back(result: Result, decision: Decision) -> RenderableType:
    if not result.columns:
        return Text(f"{result.rows_changed} row{'' if result.rows_changed == 1 else 's'} changed")
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style=_MUTED, border_style=_MUTED)
    masked = _masked_columns(result, decision)
    for name in result.columns:
        table.add_column(_printable(name), overflow="fold", style=_MASKED if name in masked else "")
    for row in result.rows[:_SHOWN_ROWS]:
        table.add_row(*(_printable("NULL" if cell is None else str(cell)) for cell in row))
    notes = []
    if len(result.rows) > _SHOWN_ROWS:
        notes.append(f"{len(result.rows) - _SHOWN_ROWS} rows more")
    if masked:
        notes.append(f"masked at the source: {_listed(masked)}")
    if result.findings:
        notes.append("second net: " + _listed(f"{f.count} {f.kind} in {f.column}" for f in result.findings) + " replaced")
    return Group(table, Text("; ".join(notes), style=_MASKED)) if notes else table


def _masked_columns(result: Result, decision: Decision) -> list[str]:
    masks = {mask.column for mask in decision.obligations.masks}
    returned = decision.access.returned if decision.access else ()
    names = {column.name for column in returned if masks & set(column.sources)}
    return [name for name in result.columns if name in names]


def _signed(step: Step) -> str:
    leaf = step.leaf
    if leaf is None:
        return ""
    before = f", after its intent in leaf {leaf.intent_index}" if leaf.intent_index is not None else ""
    return f"leaf {leaf.index}  {leaf.hash[:16]}…{before}"


def _listed(names: Iterable[str]) -> str:
    listed = list(names)
    more = len(listed) - _SHOWN_NAMES
    return ", ".join(listed[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")


def _printable(text: str, style: str = "") -> Text:
    shown = "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode("ascii") for c in text)
    return Text(shown, style=style)
