"""Amazon Redshift: judged only. ASCII letters in names fold to lower case, in quotes too, as long as the cluster is left as it comes.

A dotted name may reach into a column of type SUPER, so that a name which stands for a relation and a column at once is refused.
Source: https://docs.aws.amazon.com/redshift/latest/dg/cm_chap_SQLCommandRef.html
"""

from __future__ import annotations

from typing import ClassVar

from sqlglot import exp
from sqlglot.dialects.redshift import Redshift

from guardrails.sql.dialects.base import EngineDialect
from guardrails.sql.dialects.judged.base import Judged
from guardrails.sql.dialects.judged.forms import Forms, call_of
from guardrails.sql.dialects.judged.lexing import Lexing

__all__ = ["engine_dialect"]

_NODES = {
    exp.BitString,
    exp.Extract,
    exp.HexString,
    exp.ILike,
    exp.Interval,
    exp.Parameter,
    exp.Qualify,
    exp.RegexpILike,
    exp.RegexpLike,
    exp.SimilarTo,
    exp.TryCast,
}
_TYPES = """
bigint boolean bpchar char date decimal double float hllsketch int interval smallint super time timestamp timestamptz timetz varbinary
varchar geometry geography
"""
_UNITS = """
MILLENNIUM MILLENNIA MIL MILS CENTURY CENTURIES C CENT CENTS DECADE DECADES DEC DECS EPOCH YEAR YEARS Y YR YRS QUARTER QUARTERS QTR QTRS
MONTH MONTHS MON MONS WEEK WEEKS W DAYOFWEEK DOW DW WEEKDAY DAYOFYEAR DOY DY YEARDAY DAY DAYS D HOUR HOURS H HR HRS MINUTE MINUTES M MIN
MINS SECOND SECONDS S SEC SECS MILLISECOND MILLISECONDS MS MSEC MSECS MSECOND MSECONDS MICROSECOND MICROSECONDS MICROSEC MICROSECS
MICROSECOND USECOND USECONDS US USEC USECS
"""


class _Redshift(Redshift):
    """sqlglot's Redshift; a quote in a constant is written twice, which ends nowhere, whatever a backslash means to the server."""

    class Tokenizer(Redshift.Tokenizer):
        STRING_ESCAPES: ClassVar[list[str]] = ["'", "\\"]


def engine_dialect() -> EngineDialect:
    """Returns Redshift's rules."""
    return Judged(
        name="redshift",
        sqlglot=_Redshift(),
        nodes=frozenset(_NODES),
        types=frozenset(_TYPES.split()),
        lexing=Lexing(are_names_ascii=False, bound="$"),
        forms=Forms(
            nodes={exp.CurrentTimestamp: call_of("GETDATE")},
            units=dict.fromkeys(("DATEADD", "DATEDIFF", "DATE_PART"), 0),
            words=frozenset(_UNITS.split()),
        ),
        refused=frozenset({exp.Filter}),
        structural=frozenset({"TRY_CAST"}),
        has_fields=True,
        placeholders="numbered",
        default_schema="public",
        labels="postgres",
        nameless="",
        identifier_bytes=127,
        names_seen="alone",
    ).engine_dialect()
