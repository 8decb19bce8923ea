"""How values look on a page: times, spans of time, digests, statements. Everything returned is escaped or plain text."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime

from markupsafe import Markup, escape

from guardrails.model import WorkingHours

__all__ = ["FILTERS", "ago", "duration", "finalised", "moment", "now_s", "short", "sql_markup", "tidy"]

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_LINE_CHARACTERS = 140
_SQL = re.compile(
    r"""(?P<comment>--[^\n]*|/\*.*?\*/)
      | (?P<string>'(?:[^']|'')*')
      | (?P<name>"(?:[^"]|"")*"|`[^`]*`)
      | (?P<parameter>[:$]\w+|\?)
      | (?P<number>\b\d+(?:\.\d+)?\b)
      | (?P<word>\b[A-Za-z_]\w*\b)""",
    re.VERBOSE | re.DOTALL,
)
_APART = re.compile(r" (?=[.,)])|(?<=[.(:]) ")
_KEYWORDS = frozenset(
    """all alter and as asc between by case cast create cross cte data delete desc distinct drop else end except exists explain filter
    for from full group having in index inner insert intersect interval into is join key lateral left like limit matched merge not null
    offset on or order outer over partition primary references returning right row rows select set show table temporary then truncate
    union unique update using values view when where window with""".split()  # noqa: SIM905  forty lines otherwise
)


def now_s() -> int:
    """Returns the time as Unix seconds."""
    return int(time.time())


def moment(seconds: float | None) -> Markup:
    """Returns a time as an element that programs can read and that says the day and the minute (UTC)."""
    if seconds is None:
        return Markup("")
    at = datetime.fromtimestamp(seconds, UTC)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        at.strftime("%Y-%m-%dT%H:%M:%SZ"), at.strftime("%Y-%m-%d %H:%M:%S UTC"), at.strftime("%Y-%m-%d %H:%M")
    )


def duration(seconds: float) -> str:
    """Returns a span of time in its largest unit, and the next one where it matters: ``4 min``, ``1 h 20 min``, ``0 s``."""
    left = max(0, int(seconds))
    for size, unit in _UNITS:
        if left >= size:
            rest = left % size
            smaller = next(((s, u) for s, u in _UNITS if s < size and rest >= s), None) if left < 4 * size else None
            text = f"{left // size} {unit}"
            return f"{text} {rest // smaller[0]} {smaller[1]}" if smaller and size > 60 else text
    return "0 s"


def ago(seconds: float, now: float | None = None) -> Markup:
    """Returns how long ago a time was, with the time itself as its title."""
    at = datetime.fromtimestamp(seconds, UTC)
    span = duration((now if now is not None else now_s()) - seconds)
    return Markup('<time datetime="{}" title="{}">{} ago</time>').format(
        at.strftime("%Y-%m-%dT%H:%M:%SZ"), at.strftime("%Y-%m-%d %H:%M:%S UTC"), span
    )


def hours(given: WorkingHours) -> str:
    """Returns working hours in words: ``Mon to Fri 08:00 to 18:00 (Europe/Berlin)``."""
    names = [_DAYS[day] for day in sorted(given.days)]
    is_run = len(given.days) > 2 and sorted(given.days) == list(range(min(given.days), max(given.days) + 1))
    days = f"{names[0]} to {names[-1]}" if is_run else ", ".join(names)
    begins, ends = (f"{minutes // 60:02}:{minutes % 60:02}" for minutes in (given.begins, given.ends))
    return f"{days} {begins} to {ends} ({given.zone})"


def clock(text: str) -> str:
    """Returns the time of day of an entry's time."""
    return text[11:19] if len(text) >= 19 else text


def cell(value: object) -> Markup:
    """Returns a value of a row: NULL and bytes marked as such, everything else as text."""
    match value:
        case None:
            return Markup('<span class="muted">NULL</span>')
        case bytes():
            return Markup('<span class="muted">{} bytes</span>').format(len(value))
        case _:
            return escape(visible(one_line(str(value))))


def short(text: str | None, length: int = 12) -> str:
    """Returns the beginning of a digest or an id."""
    return (text or "")[:length]


def one_line(text: str, length: int = _LINE_CHARACTERS) -> str:
    """Returns a text on one line, cut off where it is too long."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"


def visible(text: str) -> str:
    """Returns a text in which characters that do not show, or change the direction of writing, are written as escapes."""
    if text.isprintable():
        return text
    plain = text.replace("\r\n", "\n")
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in plain)


def finalised(value: object) -> object:
    """Returns what a template puts out for a value: every text is made `visible`, so that no name can disguise itself."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def tidy(text: str) -> str:
    """Returns a normalised statement, whose words all stand apart, with its signs where people put them: ``c.id, :id``."""
    return _APART.sub("", text)


def sql_markup(text: str) -> Markup:
    """Returns a statement with its words marked by kind. It marks, and changes nothing: the text of the result is `visible(text)`."""
    parts: list[Markup] = []
    end, text = 0, visible(text)
    for found in _SQL.finditer(text):
        kind = found.lastgroup or ""
        if kind == "word":
            kind = "keyword" if found[0].lower() in _KEYWORDS else ""
        parts.append(escape(text[end : found.start()]))
        parts.append(Markup('<span class="sql-{}">{}</span>').format(kind, found[0]) if kind else escape(found[0]))
        end = found.end()
    return Markup("").join([*parts, escape(text[end:])])


FILTERS: dict[str, Callable[..., object]] = {
    "ago": ago,
    "cell": cell,
    "clock": clock,
    "hours": hours,
    "duration": duration,
    "moment": moment,
    "one_line": one_line,
    "short": short,
    "sql": sql_markup,
    "tidy": tidy,
    "visible": visible,
}
"""Filters of the templates, by name."""
