"""Whatever the text, a policy loads or is refused with a code and a place; and the digest is of the meaning, not of the writing."""

from __future__ import annotations

import json
import random
from typing import Any

import jsonschema
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrails.errors import PolicyError
from guardrails.policy import Policy, policy_schema
from tests.support.policies import EXAMPLE, FULL

PIECES = sorted(
    {*"{}[]:,-'\"#&*!|>%@\n \t\x00\x1b\u2028é", "\n  ", "null", "1", "true", "<<", "- ", ": ", "when", "effect", "mask"}
)
VALIDATOR = jsonschema.Draft202012Validator(policy_schema())


@given(
    st.sampled_from((EXAMPLE, FULL)),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 6), st.sampled_from(PIECES)), max_size=4),
)
@settings(max_examples=200, deadline=None)
def test_any_text_loads_or_is_refused_at_a_place(text: str, edits: list[tuple[int, int, str]]) -> None:
    for start, length, piece in edits:
        at = start % (len(text) + 1)
        text = text[:at] + piece + text[at + length :]
    try:
        Policy.from_text(text)
    except PolicyError as error:
        assert error.code.startswith("policy.")
        lines = text.splitlines() or [""]
        assert 1 <= error.line <= len(lines) + 1
        assert error.column >= 1


def shuffled(value: Any, chance: random.Random) -> Any:
    if isinstance(value, dict):
        return {key: shuffled(value[key], chance) for key in chance.sample(sorted(value), len(value))}
    return [shuffled(item, chance) for item in value] if isinstance(value, list) else value


@given(st.sampled_from((EXAMPLE, FULL)), st.randoms(use_true_random=False), st.booleans())
@settings(max_examples=25, deadline=None)
def test_digest_ignores_key_order(text: str, chance: random.Random, is_flow: bool) -> None:
    data = shuffled(yaml.safe_load(text), chance)
    written = "# comment\n" + yaml.safe_dump(data, sort_keys=False, default_flow_style=is_flow, allow_unicode=True)
    assert Policy.from_text(written).digest == Policy.from_text(text).digest
    assert Policy.from_text(json.dumps(data)).digest == Policy.from_text(text).digest


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(p for key, item in items for p in places(item, (*path, key)))]


JUNK: list[Any] = [None, True, 0, -1, 1.5, "", "x", "select", [], ["x"], {}, {"x": 1}, "full", "1 == 1", 10**20]


@given(st.randoms(use_true_random=False), st.sampled_from(JUNK), st.sampled_from(("replace", "add", "remove")))
@settings(max_examples=200, deadline=None)
def test_what_the_loader_accepts_the_json_schema_accepts(chance: random.Random, junk: Any, edit: str) -> None:
    data = yaml.safe_load(FULL)
    *parents, last = chance.choice([p for p in places(data) if p])
    node = data
    for step in parents:
        node = node[step]
    if edit == "replace":
        node[last] = junk
    elif edit == "remove":
        del node[last]
    elif isinstance(node, dict):
        node["x" + str(last)] = junk
    else:
        node.append(junk)
    try:
        Policy.from_text(json.dumps(data))
    except PolicyError:
        return
    VALIDATOR.validate(data)
