"""Trino: judged only. Names are compared without regard to case, and a dotted name may be a field of a column of type ROW.

Source: https://trino.io/docs/current/language.html
"""

from __future__ import annotations

from sqlglot import exp
from sqlglot.dialects.trino import Trino

from guardrails.sql.dialects.base import EngineDialect
from guardrails.sql.dialects.judged.base import Judged
from guardrails.sql.dialects.judged.forms import Forms, call_of
from guardrails.sql.dialects.judged.lexing import Lexing

__all__ = ["engine_dialect"]

_NODES = {
    exp.Array,
    exp.Bracket,
    exp.Extract,
    exp.Fetch,
    exp.HexString,
    exp.Interval,
    exp.LimitOptions,
    exp.Localtime,
    exp.Localtimestamp,
    exp.NullSafeEQ,
    exp.NullSafeNEQ,
    exp.TryCast,
    exp.Unnest,
}
_TYPES = """
array bigint boolean char date decimal double float int ipaddress json map smallint time timestamp timestamptz timetz tinyint uuid varbinary
varchar
"""


def engine_dialect() -> EngineDialect:
    """Returns Trino's rules."""
    return Judged(
        name="trino",
        sqlglot=Trino(),
        nodes=frozenset(_NODES),
        types=frozenset(_TYPES.split()),
        lexing=Lexing(),
        forms=Forms(
            nodes={
                exp.AtTimeZone: call_of("AT_TIMEZONE", "this", "zone"),
                exp.StrPosition: call_of("STRPOS", "this", "substr"),
                exp.Substring: call_of("SUBSTR", "this", "start", "length"),
            }
        ),
        table_functions={"unnest": ()},
        structural=frozenset({"TRY_CAST"}),
        has_fields=True,
    ).engine_dialect()
