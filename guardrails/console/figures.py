"""The statistics page's figures: what the projection counted in a period, as plots."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from guardrails.console.describing import span_us
from guardrails.console.plotting import Heatmap, Plot, bars, heatmap, histogram, stacked
from guardrails.console.projection.folding import DAY_S, GRAINS, HOUR_S
from guardrails.console.projection.queries import Queries
from guardrails.console.projection.rows import LatencyRow, Tally
from guardrails.console.projection.shown import shown_columns

__all__ = ["PERIODS", "Figures", "Period", "figures"]

_WEEK_S = 7 * DAY_S
_MOST_BARS = 12
_MOST_PEOPLE = 15
_MOST_COLUMNS = 12
_MOST_CELLS = 20_000


@dataclass(frozen=True, slots=True)
class Period:
    """A span of time until now.

    Args:
        name: In addresses.
        title: For people.
        length_s: Seconds; 0 for everything.
        step_s: Width of a bucket over time.
        grain: What sensitive columns are added up from; see `guardrails.console.projection.folding.GRAINS`.
        form: How a bucket's beginning is written (strftime).
    """

    name: str
    title: str
    length_s: int
    step_s: int
    grain: str
    form: str


PERIODS = {
    period.name: period
    for period in (
        Period("day", "24 hours", DAY_S, HOUR_S, "day", "%H:%M"),
        Period("week", "7 days", _WEEK_S, 6 * HOUR_S, "day", "%d. %Hh"),
        Period("month", "4 weeks", 4 * _WEEK_S, DAY_S, "week", "%m-%d"),
        Period("quarter", "12 weeks", 12 * _WEEK_S, _WEEK_S, "month", "%m-%d"),
        Period("all", "Everything", 0, 0, "all", "%Y-%m-%d"),
    )
}


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one period; `since_s` and `until_s` in Unix seconds."""

    since_s: int
    until_s: int
    totals: tuple[tuple[str, int], ...]
    decisions: Plot
    refusals: Plot
    errors: Plot
    latency: Plot
    columns: Heatmap


def figures(queries: Queries, period: Period, now_s: int, *, protected: Collection[str] = ()) -> Figures:
    """Returns the figures of a period.

    Args:
        queries: The projection.
        period: Which span of time.
        now_s: Unix seconds.
        protected: Columns that the policy protects, as ``relation.column``; those that were ever masked count too.
    """
    until_s = now_s - now_s % HOUR_S + HOUR_S
    since_s, step_s = _span(queries, period, until_s)
    decisions = queries.tallies("decision", since_s=since_s, until_s=until_s, step_s=step_s, limit=_MOST_CELLS)
    buckets = list(range(since_s, until_s, step_s))
    refused = queries.tallies("refusal", since_s=since_s, until_s=until_s, step_s=0)
    failed = queries.tallies("error", since_s=since_s, until_s=until_s, step_s=0)
    sums = Counter[str]()
    for tally in decisions:
        sums[tally.name] += tally.count
    totals = (
        ("statements allowed", sums["allow"]),
        ("run after approval", sums["approve"]),
        ("refused", sums["deny"]),
        ("failed", sum(tally.count for tally in failed)),
    )
    return Figures(
        since_s,
        until_s,
        totals,
        _decisions(decisions, buckets, period),
        bars("refusals", "Refusals by rule", _top(refused), tone="bad", heads=("Rule or reason", "Refusals")),
        bars("errors", "Errors of what ran", _top(failed), tone="wait", heads=("Code", "Outcomes")),
        _latency(queries.latencies(since_s=since_s, until_s=until_s)),
        _columns(queries, period, since_s, until_s, protected),
    )


def _span(queries: Queries, period: Period, until_s: int) -> tuple[int, int]:
    if period.length_s:
        since_s = until_s - period.length_s
        # Weeks and months of four weeks are kept whole, so a period of them begins where one does.
        return since_s - since_s % max(period.step_s, GRAINS[period.grain] if period.grain != "day" else 0), period.step_s
    first = queries.first_time_us()
    since_s = (first if first is not None else until_s * 1_000_000) // 1_000_000
    since_s -= since_s % DAY_S
    days = max(1, -(-(until_s - since_s) // DAY_S))
    return since_s, DAY_S * max(1, -(-days // 60))


def _decisions(found: Sequence[Tally], buckets: Sequence[int], period: Period) -> Plot:
    counts = defaultdict[str, Counter[int]](Counter)
    for tally in found:
        counts[tally.name][tally.bucket] += tally.count
    series = [
        (tone, label, [counts[name][bucket] for bucket in buckets])
        for name, tone, label in (("allow", "good", "allowed"), ("approve", "wait", "approved"), ("deny", "bad", "refused"))
    ]
    labels = [datetime.fromtimestamp(bucket, UTC).strftime(period.form) for bucket in buckets]
    return stacked("decisions", "Decisions over time", labels, series)


def _top(found: Sequence[Tally]) -> list[tuple[str, int]]:
    """The largest ones by the rule's name or else the code, and the others together."""
    counts = Counter[str]()
    for tally in found:
        counts[tally.name or tally.subject or "unnamed"] += tally.count
    top = counts.most_common(_MOST_BARS)
    others = sum(counts.values()) - sum(count for _, count in top)
    return [*top, *([(f"{len(counts) - len(top)} others", others)] if others else [])]


def _latency(found: Sequence[LatencyRow]) -> Plot:
    bins = [(span_us(row.from_us), span_us(row.to_us), row.count) for row in _without_gaps(found)]
    marked = [(label, span_us(_quantile(found, share))) for label, share in (("Median", 0.5), ("95 %", 0.95), ("99 %", 0.99))]
    return histogram("latency", "How long statements ran", bins, marked if found else [], heads=("From", "To", "Outcomes"))


def _without_gaps(found: Sequence[LatencyRow]) -> list[LatencyRow]:
    filled: list[LatencyRow] = []
    for row in found:
        while filled and filled[-1].to_us < row.from_us:
            low = filled[-1].to_us
            filled.append(LatencyRow(low, min(row.from_us, max(low + 1, round(low * 1.4142135))), 0))
        filled.append(row)
    return filled


def _quantile(found: Sequence[LatencyRow], share: float) -> int:
    """The value below which a share lies, as near as the bins tell: the upper bound of its bin."""
    left = share * sum(row.count for row in found)
    for row in found:
        left -= row.count
        if left <= 0:
            return row.to_us
    return 0


def _columns(queries: Queries, period: Period, since_s: int, until_s: int, protected: Collection[str]) -> Heatmap:
    """Who was shown which sensitive columns."""
    found = shown_columns(
        queries.projection,
        period.grain,
        0 if period.grain == "all" else since_s,
        until_s,
        protected=protected,
        most_people=_MOST_PEOPLE,
        most_columns=_MOST_COLUMNS,
    )
    return heatmap("Sensitive columns by principal", found.people, found.columns, found.counts)
