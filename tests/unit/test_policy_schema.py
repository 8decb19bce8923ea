"""The JSON Schema for editors: the published file is the generated one, it accepts what is right and refuses unknown keys."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
import yaml

from guardrails.cli.main import main
from guardrails.masking import MASK_KINDS
from guardrails.policy import policy_schema
from guardrails.policy.schema import MaskName
from tests.support.policies import EXAMPLE, FULL

PUBLISHED = Path(__file__).parents[2] / "docs" / "policy.schema.json"
VALIDATOR = jsonschema.Draft202012Validator(policy_schema())


def test_the_published_schema_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["policy", "schema"])
    assert PUBLISHED.read_text("utf-8") == capsys.readouterr().out, "run: guardrails policy schema > docs/policy.schema.json"


def test_the_schema_is_a_schema_and_accepts_the_examples() -> None:
    jsonschema.Draft202012Validator.check_schema(policy_schema())
    for text in (EXAMPLE, FULL):
        VALIDATOR.validate(yaml.safe_load(text))


def mappings(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [*([path] if isinstance(value, dict) else []), *(p for key, item in items for p in mappings(item, (*path, key)))]


# The sections whose keys are names take any name.
@pytest.mark.parametrize(
    "path", [p for p in mappings(yaml.safe_load(FULL)) if p not in {("purposes",), ("columns",), ("rows",)}], ids=str
)
def test_an_unknown_key_is_refused_everywhere(path: tuple[Any, ...]) -> None:
    data = copy.deepcopy(yaml.safe_load(FULL))
    node = data
    for step in path:
        node = node[step]
    node["unknown"] = 1
    assert not VALIDATOR.is_valid(data)


@pytest.mark.parametrize(
    ("mask", "is_right"),
    [
        ({"mask": "partial", "last": 4}, True),
        ({"mask": "partial", "size": 4}, False),
        ({"mask": "bucket", "size": 10}, True),
        ({"mask": "bucket"}, False),
        ({"mask": "noise", "spread": 5}, True),
        ({"mask": "noise"}, False),
        ({"mask": "shift", "days": 30}, True),
        ({"mask": "shift"}, False),
        ({"mask": "shift", "days": 30, "subject": "lea"}, False),
        ({"mask": "noise", "spread": 0}, False),
        ({"mask": "noise", "spread": 5, "per": "tenant", "nulls": "hide"}, True),
        ({"mask": "pseudonym", "per": "tenant", "nulls": "keep", "reveal": {"groups": ["a"], "purposes": ["b"]}}, True),
        ({"mask": "hash", "reveal": {"groups": ["a"]}}, True),
        ({"mask": "hash", "reveal": {"people": ["a"]}}, False),
        ({"mask": "hash", "tokens": "resolve"}, True),
        ({"mask": "hash", "tokens": "keep"}, False),
        ({"mask": "round", "tokens": "resolve"}, False),
        ({"mask": "email", "reveal": {"groups": ["a"]}}, False),
        ({"mask": "email", "per": "tenant"}, False),
        ({"mask": "email", "nulls": "hide"}, True),
        ({"mask": "full", "nulls": "hide"}, False),
        ({"mask": "deny", "nulls": "keep"}, False),
        ({"mask": "date", "nulls": "maybe"}, False),
        ({"mask": "fixed", "value": True}, True),
        ({"mask": "fixed"}, False),
        ({"mask": None}, True),
        ({"mask": "null", "value": 1}, False),
        ({"mask": "deny", "except": {"groups": ["a"]}}, True),
        ({"mask": "unknown"}, False),
        ({}, False),
    ],
)
def test_each_mask_takes_its_own_options(mask: dict[str, Any], is_right: bool) -> None:
    assert VALIDATOR.is_valid(yaml.safe_load(EXAMPLE) | {"columns": {"customers.email": mask}}) is is_right


def test_the_form_knows_every_mask() -> None:
    assert set(get_args(MaskName)) == {*MASK_KINDS, "deny"}
    options = {name for kind in MASK_KINDS.values() for name, _ in kind.options}
    assert options == {"first", "last", "value", "to", "size", "digits", "spread", "days"}
