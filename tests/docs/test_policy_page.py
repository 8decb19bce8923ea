"""The page about the policy file: its examples load, its tables agree with the models, its sample of an error is what is printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from guardrails.catalog import from_ddl
from guardrails.errors import PolicyError
from guardrails.masking import MASK_KINDS
from guardrails.model import Limits
from guardrails.policy import Policy
from guardrails.policy.conditions import VARIABLES

PAGE = (Path(__file__).parents[2] / "docs" / "policy.md").read_text("utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
SCHEMA = """
CREATE TABLE customers (id integer, name text, email text, ssn text); CREATE TABLE orders (id integer, region text);
CREATE TABLE payments (id integer, card_number text, region text); CREATE TABLE hr.salaries (id integer, amount integer);
"""


@pytest.mark.parametrize("text", EXAMPLES)
def test_examples_load_and_bind(text: str) -> None:
    Policy.from_text(text).bind(from_ddl(SCHEMA, "postgres"))


def test_the_sample_of_an_error_is_printed_so() -> None:
    with pytest.raises(PolicyError) as caught:
        Policy.from_text(EXAMPLES[0].replace("customers]", "custmers]"), "policy.yaml").bind(from_ddl(SCHEMA, "postgres"))
    assert str(caught.value) in PAGE


def test_the_tables_agree_with_the_code() -> None:
    assert {m for m in (*MASK_KINDS, "deny") if f"| `{m}` |" not in PAGE} == set()
    assert {v for v in (*VARIABLES, "arguments") if f"`{v}`" not in PAGE} == set()
    for name in ("rows", "rows_changed", "seconds", "statement_bytes", "result_bytes"):
        assert f"| `{name}` | {getattr(Limits(), name):g} |".replace("1e+05", "100000").replace("1e+07", "10000000") in PAGE
