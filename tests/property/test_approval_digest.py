"""The digest of a request tells any two different requests apart, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrails.approval import request_digest
from guardrails.errors import UsageError
from guardrails.model import Context, Principal, Value

ANA = Principal("ana@example.com", frozenset({"support", "sales"}))
CONTEXT = Context(agent="bot", purpose="refunds")
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.decimals(allow_nan=False)
)
VALUES = st.recursive(
    SCALARS, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=3), v, max_size=3), max_leaves=6
)


def digest(
    params: object = (), sql: str = "SELECT 1", principal: Principal = ANA, context: Context = CONTEXT, policy: str = "p"
) -> str:
    return request_digest(principal, sql, params, policy, context)  # type: ignore[arg-type]


def typed(value: object) -> object:
    if isinstance(value, dict):
        return ("dict", sorted((key, repr(typed(item))) for key, item in value.items()))
    return ("list", [typed(item) for item in value]) if isinstance(value, list) else (type(value).__name__, repr(value))


@settings(deadline=None)
@given(VALUES, VALUES)
def test_digests_are_equal_exactly_for_equal_typed_values(one: Value, other: Value) -> None:
    assert (digest([one]) == digest([other])) == (typed(one) == typed(other))


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=5), SCALARS, min_size=2, max_size=5), st.randoms())
def test_the_order_of_names_does_not_matter(params: dict[str, Value], random: object) -> None:
    names = list(params)
    random.shuffle(names)  # type: ignore[attr-defined]
    assert digest({name: params[name] for name in names}) == digest(params)


def test_every_bound_part_changes_the_digest() -> None:
    digests = {
        digest(),
        digest({}),
        digest(sql="SELECT 2"),
        digest(policy="q"),
        digest(principal=Principal("ana@example.com", frozenset({"support"}))),
        digest(principal=Principal("bo@example.com", ANA.groups)),
        digest(principal=Principal(ANA.id, ANA.groups, issuer="https://id.example.com")),
        digest(principal=Principal(ANA.id, ANA.groups, verified="jwt")),
        digest(principal=Principal(ANA.id, ANA.groups, {"region": "eu"})),
        digest(context=Context(agent="other", purpose="refunds")),
        digest(context=Context(agent="bot", purpose="sales")),
        digest(context=Context(agent="refunds", purpose="bot")),
        *(digest([value]) for value in (1, "1", True, 1.0, b"1", Decimal(1), Decimal("1.0"), None, [1], {"1": 1}, -1, 0.0, -0.0)),
        *(digest([value]) for value in (datetime(2020, 1, 1), datetime(2020, 1, 1, tzinfo=UTC), timedelta(1), datetime(2020, 1, 1).date())),  # noqa: DTZ001
    }  # fmt: skip
    assert len(digests) == 29
    assert all(len(d) == 64 for d in digests)


def test_sessions_and_tokens_are_not_bound() -> None:
    later = Context(agent="bot", purpose="refunds", session_id="s2", tool="run_query", tool_call_id="c9")
    renewed = Principal(ANA.id, ANA.groups, token_digest="ab" * 32, expires_at=5)
    assert digest() == digest(context=later) == digest(principal=renewed)


@settings(deadline=None)
@given(st.lists(st.text(), min_size=2, max_size=4))
def test_boundaries_cannot_be_moved(parts: list[str]) -> None:
    joined = "".join(parts)
    splits = [[joined[:i], joined[i:]] for i in range(len(joined) + 1)]
    assert len({digest(split) for split in splits}) == len(splits)


def test_a_value_of_an_unknown_type_is_refused() -> None:
    nested: list[object] = []
    for _ in range(1000):
        nested = [nested]
    for value in (object(), nested, 1j):
        with pytest.raises(UsageError):
            digest([value])
