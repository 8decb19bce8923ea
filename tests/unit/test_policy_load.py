"""Loading policies: what is broken is refused at its exact line and column, what is right is read, whatever its order."""

from __future__ import annotations

import gc
import time
from itertools import pairwise
from pathlib import Path

import pytest

from guardrails.errors import PolicyError, UsageError
from guardrails.policy import Policy
from tests.support.policies import EXAMPLE

_RULE = "{id: a, effect: allow, actions: [select], relations: [orders]}"
_HEAD = f"version: 1\nrules:\n  - {_RULE}\n"

# `▸` stands just before the place at which the error must point.
_ASK = _HEAD.replace("allow", "approve").replace("]}", "], approval: {T}}")
_MAILING = _HEAD.replace("]}", "]}\n  - {id: b, effect: allow, actions: [send_mail]}")
BROKEN = [
    # Not YAML, or YAML that this form does not have.
    ("policy.syntax", "▸", "empty"),
    ("policy.syntax", "▸# nothing\n", "empty"),
    ("policy.syntax", "▸just text", "not a mapping"),
    ("policy.syntax", "▸- a\n- b\n", "not a mapping"),
    ("policy.syntax", "version: 1\nrules: [a\n▸", "not valid YAML"),
    ("policy.syntax", "version: 1\n▸\trules: []\n", "not valid YAML"),
    ("policy.syntax", "version: 1\n---\n▸version: 1\n".replace("---\n▸", "▸---\n"), "not valid YAML"),
    ("policy.syntax", "version: 1\na: ▸\x00\n", "character"),
    ("policy.syntax", "a: ▸&x 1\nb: *x\n", "Anchors"),
    ("policy.syntax", "version: 1\nb: ▸*x\n", "Anchors"),
    ("policy.syntax", "version: ▸!!int 1\n", "Tags"),
    ("policy.syntax", "version: ▸!!python/object:os.system x\n", "Tags"),
    ("policy.syntax", f"{_HEAD}limits: {{rows: 1}}\n▸limits: {{rows: 2}}\n", "stands twice; first in line 4"),
    ("policy.syntax", "version: 1\nrules:\n  - {id: a, effect: deny, ▸id: b}\n", "stands twice"),
    ("policy.syntax", "version: 1\n▸? [a]\n: 1\n".replace("▸? [a]", "? ▸[a]"), "not plain text"),
    ("policy.syntax", "a: " + "[" * 11 + "▸[1]" + "]" * 11, "nested too deeply"),
    ("policy.invalid", "version: 1\nrules:▸\n", "`rules` has no value"),
    # Keys.
    ("policy.unknown_key", f"{_HEAD}▸colums: {{}}\n", "Did you mean `columns`?"),
    ("policy.unknown_key", _HEAD.replace("effect: allow", "▸efect: allow, effect: allow"), "`effect`"),
    ("policy.unknown_key", "version: 1\nrules:\n  - id: a\n    effect: allow\n    actions: [select]\n    ▸relation: [o]\n", "`relations`"),
    ("policy.unknown_key", f"{_HEAD}    \n".replace("]}", "], principals: {▸group: [x]}}"), "`groups`"),
    ("policy.unknown_key", f"{_HEAD}limits: {{▸row: 5}}\n", "`rows`"),
    ("policy.unknown_key", f"{_HEAD}columns:\n  a.b: {{mask: full, ▸exept: {{groups: [x]}}}}\n", "`except`"),
    ("policy.unknown_key", f"{_HEAD}rows:\n  a: {{▸predicat: x = 1}}\n", "`predicate`"),
    ("policy.unknown_key", f"{_HEAD}purposes:\n  p: {{▸descripton: x}}\n", "`description`"),
    ("policy.invalid", f"▸rules:\n  - {_RULE}\n", "`version` is missing"),
    ("policy.invalid", "▸version: 1\n", "`rules` is missing"),
    ("policy.invalid", "version: 1\nrules:\n  - ▸{effect: allow, actions: [select], relations: [o]}\n", "`id` is missing"),
    # Values.
    ("policy.invalid", f"version: ▸2\nrules: [{_RULE}]\n", "`version` must be 1"),
    ("policy.invalid", f"version: ▸true\nrules: [{_RULE}]\n", "`version` must be 1"),
    ("policy.invalid", f"version: ▸1.0\nrules: [{_RULE}]\n", "`version` must be 1"),
    ("policy.invalid", "version: 1\nrules: ▸[]\n", "must not be empty"),
    ("policy.invalid", "version: 1\nrules: ▸5\n", "must be a list"),
    ("policy.invalid", _HEAD.replace("effect: allow", "effect: ▸alow"), "Did you mean `allow`?"),
    ("policy.invalid", _HEAD.replace("[select]", "▸select"), "must be a list"),
    ("policy.invalid", _HEAD.replace("[select]", "▸[]"), "must not be empty"),
    ("policy.invalid", _HEAD.replace("[orders]", "▸[]"), "must not be empty"),
    ("policy.invalid", _HEAD.replace("[orders]", "[orders, ▸5]"), "must be text"),
    ("policy.invalid", _HEAD.replace("[orders]", "[▸true]"), "must be text"),
    ("policy.invalid", _HEAD.replace("id: a", "id: ▸' a'"), "blanks"),
    ("policy.invalid", f"{_HEAD}limits: {{rows: ▸'10'}}\n", "whole number"),
    ("policy.invalid", f"{_HEAD}limits: {{rows: ▸1_000}}\n", "whole number"),
    ("policy.invalid", f"{_HEAD}limits: {{rows: ▸010}}\n", "whole number"),
    ("policy.invalid", f"{_HEAD}limits: {{rows: ▸true}}\n", "whole number"),
    ("policy.invalid", f"{_HEAD}limits: {{rows: ▸0}}\n", "greater than 0"),
    ("policy.invalid", f"{_HEAD}limits: {{seconds: ▸.inf}}\n", "number"),
    ("policy.invalid", f"{_HEAD}limits: ▸[]\n", "mapping"),
    ("policy.invalid", f"{_HEAD}columns:\n  a.b: {{mask: ▸pseudonymm}}\n", "`pseudonym`"),
    ("policy.invalid", f"{_HEAD}columns:\n  a.b: ▸full\n", "mapping"),
    ("policy.invalid", f"{_HEAD}columns:\n  a.b: ▸{{}}\n", "`mask` is missing"),
    ("policy.invalid", f"{_HEAD}rows:\n  a: ▸5\n", "mapping"),
    ("policy.invalid", _HEAD.replace("allow", "approve").replace("]}", "], approval: {expires: ▸2w}}"), "15m"),
    ("policy.invalid", _HEAD.replace("allow", "approve").replace("]}", "], approval: {expires: ▸1.5}}"), "15m"),
    # Actions.
    ("policy.invalid", _HEAD.replace("[select]", "[▸selct]"), "Did you mean `select`?"),
    ("policy.invalid", _HEAD.replace("[select]", "[select, ▸UPDATE]"), "Did you mean `update`?"),
    ("policy.invalid", _HEAD.replace("[select]", "[▸'*']"), "all"),
    ("policy.invalid", _HEAD.replace("[select]", "[▸'*e*']"), "would mean SQL actions"),
    ("policy.invalid", _HEAD.replace("[select]", "[▸'send mail']"), "not the name"),
    # Scope.
    ("policy.invalid", "version: 1\nrules:\n  - ▸{id: a, effect: allow, actions: [select]}\n", "names no relations"),
    ("policy.invalid", "version: 1\nrules:\n  - ▸{id: a, effect: approve, actions: [update]}\n", "names no relations"),
    ("policy.invalid", _HEAD.replace("[orders]", "[▸a.b.c]"), "schema.relation"),
    ("policy.invalid", _HEAD.replace("[orders]", "[▸'\"orders\"']"), "schema.relation"),
    ("policy.invalid", _HEAD.replace("]}", "], columns: [▸email]}"), "relation.column"),
    ("policy.invalid", _HEAD.replace("]}", "], principals: ▸{}}"), "names nobody"),
    ("policy.invalid", _HEAD.replace("]}", "], principals: {groups: [▸'*']}}"), "in full"),
    ("policy.contradiction", _HEAD.replace("select", "email.send").replace("relations", "▸relations"), "no effect"),
    ("policy.contradiction", _HEAD.replace("]}", "], ▸where: optional}"), "no effect"),
    ("policy.contradiction", _HEAD.replace("]}", "], ▸approval: {groups: [x]}}"), "no effect"),
    # Terms of approvals.
    ("policy.invalid", _ASK.replace("T", "hours: {begins: '17:00', ends: ▸'09:00'}"), "not later"),
    ("policy.invalid", _ASK.replace("T", "hours: {begins: ▸'9:00', ends: '17:00'}"), "begins"),
    ("policy.invalid", _ASK.replace("T", "hours: {begins: '09:00', ends: '17:00', zone: ▸Europe/Nowhere}"), "no time zone"),
    ("policy.invalid", _ASK.replace("T", "quorum: ▸0"), "greater than"),
    ("policy.invalid", _ASK.replace("T", "break_glass: ▸{review: 1h}"), "`groups` is missing"),
    ("policy.invalid", _ASK.replace("T", "break_glass: {groups: [▸'on*']}"), "in full"),
    ("policy.invalid", _ASK.replace("T", "groups: [▸'*']"), "in full"),
    ("policy.contradiction", _ASK.replace("T", "unmask: ▸true"), "no effect"),
    ("policy.contradiction", _ASK.replace("select", "update").replace("T", "unmask: ▸true"), "no effect"),
    # Purposes.
    ("policy.invalid", _HEAD.replace("]}", "], purposes: [▸fraud]}"), "is not declared"),
    ("policy.invalid", _HEAD.replace("]}", "], purposes: [▸frud]}") + "purposes: {fraud: {description: x}}\n", "Did you mean `fraud`?"),
    ("policy.invalid", f"{_HEAD}columns:\n  a.b: {{mask: full, except: {{purposes: [▸p]}}}}\n", "is not declared"),
    # Contradictions.
    ("policy.contradiction", f"{_HEAD}  - {{id: ▸a, effect: allow, actions: [select], relations: [b]}}\n", "(line 3)"),
    ("policy.contradiction", f"{_HEAD}  - {{id: b, effect: ▸deny, actions: [read], relations: [Orders]}}\n", "allow and deny of the same"),
    ("policy.contradiction", f"{_HEAD}columns:\n  a.b: {{mask: full}}\n  ▸A.b: {{mask: full}}\n", "stands twice"),
    ("policy.contradiction", f"{_HEAD}rows:\n  a: x = 1\n  ▸A: x = 1\n", "stands twice"),
    ("policy.contradiction", f"{_HEAD}columns:\n  a.b: {{mask: full, except: ▸{{}}}}\n", "exempts everybody"),
    ("policy.contradiction", f"{_HEAD}columns:\n  a.b: {{mask: full, except: ▸{{groups: ['*']}}}}\n", "exempts everybody"),
    (
        "policy.contradiction",
        f"{_HEAD}  - {{id: d, effect: deny, actions: [read], relations: [pay*]}}\ncolumns:\n  ▸hr.pay.amount: {{mask: full}}\n",
        "refuses every read",
    ),
    # Masks.
    ("policy.mask_invalid", f"{_HEAD}columns:\n  a.b: {{mask: full, ▸last: 4}}\n", "it takes none"),
    ("policy.mask_invalid", f"{_HEAD}columns:\n  a.b: {{mask: ▸bucket}}\n", "needs the option `size`"),
    ("policy.mask_invalid", f"{_HEAD}columns:\n  a.b: {{mask: deny, ▸value: x}}\n", "it takes none"),
    ("policy.mask_invalid", f"{_HEAD}columns:\n  a.b: {{mask: email, ▸per: tenant}}\n", "it takes nulls"),
    ("policy.mask_invalid", f"{_HEAD}columns:\n  a.b: {{mask: hash, per: ▸groups}}\n", "an attribute of the principal"),
    ("policy.mask_invalid", f"{_HEAD}columns:\n  a.b: {{mask: email, ▸reveal: {{groups: [x]}}}}\n", "cannot be resolved"),
    ("policy.mask_invalid", f"{_HEAD}columns:\n  a.b: {{mask: noise, spread: 1, ▸tokens: resolve}}\n", "cannot be resolved"),
    ("policy.contradiction", f"{_HEAD}columns:\n  a.b: {{mask: hash, reveal: ▸{{}}}}\n", "revealed to everybody"),
    ("policy.contradiction", f"{_HEAD}columns:\n  a.b: {{mask: hash, reveal: ▸{{groups: ['*']}}}}\n", "revealed to everybody"),
    ("policy.invalid", f"{_HEAD}columns:\n  a.b: {{mask: hash, reveal: {{purposes: [▸p]}}}}\n", "is not declared"),
    ("policy.contradiction", _HEAD.replace("select", "reveal").replace("relations", "▸relations"), "no effect"),
    ("policy.invalid", f"{_HEAD}columns:\n  ▸email: {{mask: full}}\n", "relation.column"),
    ("policy.invalid", f"{_HEAD}columns:\n  ▸'*.email': {{mask: full}}\n", "in full"),
    # Row filters.
    ("policy.invalid", f"{_HEAD}rows:\n  ▸'ord*': x = 1\n", "in full"),
    ("policy.row_filter_invalid", f"{_HEAD}rows:\n  orders: ▸region = principal.\n", "one plain name"),
    ("policy.row_filter_invalid", f"{_HEAD}rows:\n  orders: {{predicate: ▸region = principal.a.b}}\n", "one plain name"),
    ("policy.row_filter_invalid", f"{_HEAD}rows:\n  orders: ▸\"region = 'x\"\n", "not closed"),
    ("policy.row_filter_invalid", f"{_HEAD}rows:\n  orders: ▸x = 1 -- all\n", "comment"),
    # Tools and rates.
    ("policy.invalid", f"{_HEAD}tools:\n  ▸select: {{seconds: 1}}\n", "is not the name of a tool"),
    ("policy.invalid", f"{_HEAD}tools:\n  ▸a b: {{seconds: 1}}\n", "is not the name of a tool"),
    ("policy.contradiction", f"{_HEAD}tools:\n  ▸mail: {{}}\n", "Nothing is said"),
    ("policy.unknown_key", f"{_HEAD}tools:\n  mail: {{▸second: 1}}\n", "seconds"),
    ("policy.invalid", f"{_HEAD}tools:\n  mail: {{seconds: ▸0}}\n", ""),
    ("policy.invalid", f"{_HEAD}tools:\n  mail: {{arguments: {{to: ▸shown}}}}\n", ""),
    ("policy.mask_invalid", f"{_HEAD}tools:\n  mail: {{arguments: {{to: {{mask: email, ▸last: 1}}}}}}\n", "it takes none"),
    ("policy.mask_invalid", f"{_HEAD}tools:\n  mail: {{arguments: {{to: {{mask: ▸bucket}}}}}}\n", "needs the option"),
    ("policy.invalid", _MAILING + "rates: [{tools: [▸send_mial], calls: 1, per: 1s}]\n", "Did you mean `send_mail`"),
    ("policy.invalid", _MAILING + "tools: {▸send_mails: {seconds: 1}}\n", "Did you mean `send_mail`"),
    ("policy.invalid", f"{_HEAD}rates: [{{tools: ▸[], calls: 1, per: 1s}}]\n", ""),
    ("policy.invalid", f"{_HEAD}rates: [{{tools: [a.b], calls: ▸0, per: 1s}}]\n", ""),
    ("policy.invalid", f"{_HEAD}rates: [{{tools: [a.b], calls: 1, per: ▸0}}]\n", ""),
    ("policy.invalid", f"{_HEAD}rates: [{{tools: [a.b], calls: 1, per: ▸1w}}]\n", "seconds"),
    ("policy.unknown_key", f"{_HEAD}rates: [{{tools: [a.b], calls: 1, per: 1s, ▸principals: {{}}}}]\n", ""),
    # Conditions.
    ("policy.condition_invalid", _HEAD.replace("]}", "], when: principal.region == ▸}").replace(" ▸}", "▸ }"), "CEL"),
    ("policy.condition_invalid", _HEAD.replace("]}", "], when: ▸principl.region == 'x'}"), "did you mean `principal`"),
    ("policy.condition_invalid", _HEAD.replace("]}", "], when: \"1 == 1 && ▸sizee(agent) == 1\"}"), "did you mean `size`"),
    ("policy.condition_invalid", _HEAD.replace("]}", "], when: ▸1 + 1}"), "true or false"),
    ("policy.condition_invalid", _HEAD.replace("]}", "], when: ▸argument.to == 'x'}"), "unknown variable"),
    (
        "policy.condition_invalid",
        "version: 1\nrules:\n  - id: a\n    effect: deny\n    actions: [all]\n    when: |\n      1 == 1 &&\n        agent == 'x' ▸b\n",
        "CEL",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("code", "marked", "said"), BROKEN)
def test_a_broken_policy_is_refused_at_its_place(code: str, marked: str, said: str) -> None:
    before, _, after = marked.partition("▸")
    with pytest.raises(PolicyError) as caught:
        Policy.from_text(before + after, source="p.yaml")
    error = caught.value
    assert (error.code, error.line, error.column) == (code, before.count("\n") + 1, len(before) - before.rfind("\n")), str(
        error
    )
    assert said in error.message + error.hint
    assert str(error).startswith(f"p.yaml:{error.line}:{error.column}: [{code}] ")


def test_every_mistake_is_listed_in_the_order_of_the_file() -> None:
    text = _HEAD.replace("allow", "alow") + "limits: {rows: -1, seconds: x}\ncolumns:\n  a.b: {mask: ful}\n"
    with pytest.raises(PolicyError) as caught:
        Policy.from_text(text)
    problems = caught.value.evidence["problems"]
    assert isinstance(problems, list)
    assert [p["line"] for p in problems] == [3, 4, 4, 6]


def test_the_smallest_useful_policy_loads() -> None:
    policy = Policy.from_text(EXAMPLE)
    assert (policy.limits.rows, policy.limits.seconds, policy.limits.statement_bytes) == (1000, 10.0, 100_000)
    assert policy.file.rows["orders"].predicate == "region = principal.region"
    assert [rule.id for rule in policy.file.rules] == ["read-shop"]


def test_the_digest_changes_with_the_meaning_only() -> None:
    policy = Policy.from_text(EXAMPLE)
    assert policy.digest == Policy.from_text("# a comment\n" + EXAMPLE.replace("mask: full", "'mask': \"full\"")).digest
    assert policy.digest == Policy.from_text(EXAMPLE.replace("seconds: 10,", "seconds: 10.0, rows_changed: 100,")).digest
    assert policy.digest != Policy.from_text(EXAMPLE.replace("rows: 1000", "rows: 999")).digest
    assert policy.digest != Policy.from_text(EXAMPLE.replace("full", "hash")).digest
    assert len(policy.digest) == 64


def test_a_policy_built_in_python_is_the_same_policy() -> None:
    built = Policy(
        rules=[
            {
                "id": "read-shop",
                "effect": "allow",
                "actions": ["select"],
                "relations": ["orders", "customers"],
                "principals": {"groups": ["support"]},
            }
        ],
        columns={"customers.email": {"mask": "pseudonym"}, "customers.ssn": {"mask": "full"}},
        rows={"orders": "region = principal.region"},
        limits={"rows": 1000, "seconds": 10, "statement_bytes": 100000},
    )
    assert built.digest == Policy.from_text(EXAMPLE).digest


def test_a_policy_built_in_python_is_checked_as_a_file_is() -> None:
    with pytest.raises(PolicyError) as caught:
        Policy(rules=[{"id": "a", "efect": "allow", "actions": ["select"]}])
    assert caught.value.code == "policy.unknown_key"
    assert (caught.value.line, caught.value.column) == (0, 0)
    with pytest.raises(PolicyError, match=r"policy\.contradiction"):
        Policy(rules=[{"id": "a", "effect": e, "actions": ["select"], "relations": ["o"]} for e in ("allow", "deny")])


@pytest.mark.parametrize(("word", "kind"), [("null", "null"), ("'null'", "null"), ("~", "null"), ("full", "full")])
def test_the_word_null_is_a_mask(word: str, kind: str) -> None:
    assert Policy.from_text(f"{_HEAD}columns:\n  a.b: {{mask: {word}}}\n").file.columns["a.b"].mask == kind


@pytest.mark.parametrize(
    ("given", "kept"), [("7", 7), ("'7'", "7"), ("1.5", "1.5"), ("true", "true"), ("2020-01-01", "2020-01-01"), ("no", "no")]
)
def test_a_fixed_value_is_kept_as_written(given: str, kept: str | int) -> None:
    options = Policy.from_text(f"{_HEAD}columns:\n  a.b: {{mask: fixed, value: {given}}}\n").file.columns["a.b"].options()
    assert options == (("value", kept),)


@pytest.mark.parametrize(("given", "seconds"), [("900", 900), ("15m", 900), ("'1h'", 3600), ("2 d", 172800), ("30s", 30)])
def test_a_duration_is_seconds_or_has_a_unit(given: str, seconds: int) -> None:
    text = _HEAD.replace("allow", "approve").replace("]}", f"], approval: {{expires: {given}}}}}")
    approval = Policy.from_text(text).file.rules[0].approval
    assert approval is not None
    assert approval.expires == seconds


@pytest.mark.parametrize(
    "text",
    [
        "x" * 10_000_000,
        "a: " + "[" * 100_000,
        "{" * 100_000,
        "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(f"{c}: &{c} [*{p},*{p},*{p}]\n" for p, c in pairwise("abcdefghijklmnopq")),
        "version: 1\nrules:\n" + "  - {id: a}\n" * 9_000,
        "version: 1\nrules:\n" + "  - {id: a, effect: deny, actions: [selct], relations: [a.b.c]}\n" * 1_900,
        "version: 1\nrules: [" + "\n" * 100_000,
        "version: 1\nrules:\n  - {id: a, effect: deny, actions: [all], when: '" + "(" * 3_900 + "'}\n",
        "version: 1\nrules:\n  - {id: a, effect: deny, actions: [all], when: '" + "1+" * 1_900 + "'}\n",
    ],
    ids=["10 MB", "deep lists", "deep mappings", "anchor bomb", "many errors", "many checks", "many lines", "deep CEL", "long CEL"],
)  # fmt: skip
def test_hostile_text_is_refused_within_a_second(text: str) -> None:
    # This thread's own work: no other test's threads, and no collection of what thousands of tests before have left.
    gc.disable()
    began = time.thread_time()
    try:
        with pytest.raises(PolicyError) as caught:
            Policy.from_text(text)
        took = time.thread_time() - began
    finally:
        gc.enable()
    assert took < 1
    assert caught.value.line >= 1


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.yaml", tmp_path, tmp_path / "nul\0byte"):
        with pytest.raises(UsageError) as caught:
            Policy.load(path)
        assert caught.value.code == "usage.file_missing"
    for data in (b"version: 1\n\xff\xfe\n", b"x" * 10_000_000, "version: 1".encode("utf-16")):
        (tmp_path / "policy.yaml").write_bytes(data)
        with pytest.raises(PolicyError) as refused:
            Policy.load(tmp_path / "policy.yaml")
        assert refused.value.code == "policy.syntax"


def test_a_byte_order_mark_and_other_line_ends_are_read(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_bytes(b"\xef\xbb\xbf" + EXAMPLE.replace("\n", "\r\n").encode())
    assert Policy.load(tmp_path / "policy.yaml").digest == Policy.from_text(EXAMPLE).digest
