"""The canonical form of definitions is that of RFC 8785, as another implementation writes it."""

from __future__ import annotations

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from guardrails.errors import UsageError
from guardrails.mcp_gateway.canonical import canonical

_EXACT = 2**53 - 1
_TEXTS = st.text(st.characters(exclude_categories=("Cs",)))
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-_EXACT, _EXACT) | st.floats(allow_nan=False, allow_infinity=False) | _TEXTS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(_TEXTS, inner, max_size=5),
    max_leaves=20,
)


@given(_VALUES)
def test_it_is_what_another_implementation_writes(value: object) -> None:
    assert canonical(value) == rfc8785.dumps(value)  # type: ignore[arg-type]


@given(st.integers(2**53, 10**300))
def test_larger_whole_numbers_are_the_nearest_double(number: int) -> None:
    assert canonical(number) == rfc8785.dumps(float(number))


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), 10**400, "\ud800", {1: 2}, {"a": object()}, b"x"],
    ids=["nan", "infinite", "too-large", "surrogate", "key", "object", "bytes"],
)
def test_what_is_no_json_has_no_form(value: object) -> None:
    with pytest.raises(UsageError):
        canonical(value)


def test_depth_is_bounded() -> None:
    value: object = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(UsageError):
        canonical(value)
