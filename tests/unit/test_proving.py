"""The parts of a proof that need no server: values and pairs, texts of a schema, the vocabulary, the report, the command."""

from __future__ import annotations

import json
import random
import sqlite3
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

import guardrails.proving
from guardrails.catalog import from_ddl
from guardrails.masking import mask_value
from guardrails.model import Column, ColumnRef, DialectName, Mask, MaskExpression, Principal
from guardrails.policy import Policy
from guardrails.proving import prove
from guardrails.proving.comparing import is_order_free
from guardrails.proving.copying.text import enum_labels, literals_in
from guardrails.proving.grammar import query, seeded
from guardrails.proving.probes import literal, probes
from guardrails.proving.protection import is_independent
from guardrails.proving.values import ColumnValues, column_values
from guardrails.proving.vocabulary import Vocabulary
from tests.support.command_line import call
from tests.support.provable import POLICY, SMALL_POLICY, make

KEY = b"k" * 32
_SPELLED = {
    "postgres": {"decimal(10,2)": "numeric(10,2)"},
    "duckdb": {"varchar(40)": "varchar"},
    "mysql": {"integer": "int"},
}
ANA = '{"id": "ana", "groups": ["support"], "attributes": {"most": 20}}'


def values_of(
    type_: str, dialect: DialectName = "postgres", *, is_nullable: bool = False, is_key: bool = False
) -> ColumnValues:
    return column_values(Column("c", type_, is_nullable), dialect, random.Random(4), 40, (), (), is_key=is_key)


@pytest.mark.parametrize(
    "type_", ["integer", "text", "character varying(12)", "numeric(8,2)", "date", "timestamp", "uuid", "bytea"]
)
def test_free_pairs_differ_in_value_order_and_equality(type_: str) -> None:
    values = values_of(type_)
    pairs = [values.free_pair(1, number) for number in range(1, 40)]
    assert sum(a != b for a, b in pairs) > 35
    firsts, seconds = zip(*pairs, strict=True)
    assert len(set(map(repr, firsts))) == len(set(map(repr, seconds))) == 39
    assert [sorted(firsts).index(f) for f in firsts] != [sorted(seconds).index(s) for s in seconds]


def test_free_pairs_are_null_in_different_rows() -> None:
    values = values_of("text", is_nullable=True)
    pairs = [values.free_pair(0, number) for number in range(200)]
    assert any(a is None and b is not None for a, b in pairs)
    assert any(a is not None and b is None for a, b in pairs)


@pytest.mark.parametrize("dialect", ["postgres", "sqlite", "mysql", "duckdb"])
@pytest.mark.parametrize(
    ("type_", "kind", "options"),
    [
        ("varchar(40)", "email", ()),
        ("varchar(40)", "partial", (("first", 1), ("last", 1))),
        ("integer", "bucket", (("size", 100),)),
        ("decimal(10,2)", "round", (("digits", 0),)),
        ("date", "date", (("to", "year"),)),
    ],
)
def test_alike_pairs_differ_and_show_alike(
    type_: str, kind: str, options: tuple[tuple[str, int]], dialect: DialectName
) -> None:
    name = _SPELLED.get(dialect, {}).get(type_, type_)
    values = values_of(name, dialect, is_nullable=True)
    values = replace(values, column=replace(values.column, name="mail" if kind == "email" else "c"))
    mask = Mask(ColumnRef("t", values.column.name), kind, options)
    pairs = [values.alike_pair(mask, 1, number, KEY) for number in range(1, 60)]
    assert sum(a != b for a, b in pairs) > 30
    for pair in pairs:
        one, two = (mask_value(mask, values.column, v, KEY, dialect=dialect) for v in pair)  # type: ignore[arg-type]
        assert one == two
        assert (pair[0] is None) == (pair[1] is None)


def test_masks_that_tell_nothing() -> None:
    told = {
        kind: is_independent(Mask(ColumnRef("t", "c"), kind)) for kind in ("full", "null", "fixed", "deny", "hash", "round")
    }
    assert told == {"full": True, "null": True, "fixed": True, "deny": True, "hash": False, "round": False}


def test_what_a_definition_names() -> None:
    assert literals_in("CHECK (status IN ('open', 'it''s')) CHECK (n2 BETWEEN 1 AND -9.5)") == ("open", "it's", "1", "-9.5")
    assert enum_labels("enum('a','b''c')") == ("a", "b'c")
    assert enum_labels("ENUM('calm', 'cross')") == ("calm", "cross")
    assert enum_labels("varchar(9)") == ()


def test_values_as_sql() -> None:
    assert literal("a b") == "'a b'"
    assert [literal(text) for text in ("it's", "a\\b", "100%", "a:b", "\n", "x" * 99, None, True)] == [None] * 8


def test_a_vocabulary_names_what_may_be_read_and_can_be_named() -> None:
    catalog = from_ddl(
        'CREATE TABLE "order" (id integer PRIMARY KEY, "a.b" text, secret text, "select" integer, other text);'
        'CREATE TABLE "x.y" (id integer); CREATE TABLE hidden (id integer); CREATE TABLE odd (shape inet)',
        "postgres",
    )
    visible = {"order": ("id", "a.b", "secret", "select"), "x.y": ("id",), "odd": ("shape",)}
    vocabulary = Vocabulary(catalog, visible, frozenset({"order"}), {("order", "secret"): ["s1", "s2"]}, 1)
    schema = vocabulary.flavour(0).schema
    assert schema.tables == {"order": {"id": "int", "secret": "text", "select": "int"}, "odd": {"shape": "other"}}
    assert schema.favoured == {"secret"}
    assert vocabulary.probed() == {("order", "secret"): "id"}
    made = list(probes(vocabulary.flavour(0), vocabulary.probed(), {("order", "secret"): ["s1"]}))
    assert 'SELECT id FROM "order" ORDER BY secret' in made
    assert """SELECT id FROM "order" WHERE secret = 's1'""" in made
    assert vocabulary.flavour(3) == vocabulary.flavour(3)
    statements = [query(seeded(n), vocabulary.flavour(0)) for n in range(200)]
    assert sum("secret" in s for s in statements) > 100
    assert not any("hidden" in s or "x.y" in s for s in statements)
    assert vocabulary.flavour(0, is_change=True).tables() == {"order": {"id": "int", "secret": "text", "select": "int"}}


def test_statements_whose_rows_depend_on_no_order() -> None:
    assert is_order_free("SELECT a, sum(b) FROM t GROUP BY a ORDER BY a")
    assert not any(
        map(is_order_free, ("SELECT a FROM t LIMIT 1", "SELECT group_concat(a) FROM t", "SELECT rank() OVER w FROM t"))
    )


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("proving")
    make(f"sqlite:///{folder / 'shop.db'}")
    (folder / "policy.yaml").write_text(POLICY)
    (folder / "small.yaml").write_text(SMALL_POLICY)
    (folder / "asked.jsonl").write_text(
        '{"sql": "SELECT email FROM customers WHERE id > :n", "params": {"n": 1}}\n{"sql": "SELECT max(credit) FROM customers"}\n'
    )
    return folder


def arguments(shop: Path, policy: str = "small.yaml") -> list[str]:
    return ["policy", "prove", "--policy", str(shop / policy), "--database", f"sqlite:///{shop / 'shop.db'}", "--rows", "8"]


def test_the_command_proves(shop: Path) -> None:
    done = call(
        *arguments(shop, "policy.yaml"), "--principal-json", ANA, "--count", "4", "--statements", str(shop / "asked.jsonl")
    )
    assert done.status == 0, done.stderr
    text = done.stdout.decode()
    assert "sqlite: twins for ana, seed 1" in text
    assert "recorded 2, about one column " in text
    assert "kept equal  customers.name: pseudonym shows which values are equal" in text
    assert "differences   0" in text
    assert done.stderr == b""


def test_the_command_in_json_repeats_itself(shop: Path) -> None:
    one, two = (json.loads(call(*arguments(shop), "--count", "3", "--seed", "9", "--json").stdout) for _ in range(2))
    assert one == two
    assert (one["proven"], one["seed"], one["difference_count"]) == (True, 9, 0)


def test_a_difference_is_status_1(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leaking = partial(prove, unsafe_mask_sql=lambda _mask, _column: MaskExpression('"__column__"'))
    monkeypatch.setattr(guardrails.proving, "prove", leaking)
    done = call(*arguments(shop), "--count", "1")
    assert done.status == 1
    assert b"SELECT credit FROM customers;" in done.stdout
    assert b"-- one:     ('credit',) " in done.stdout


@pytest.mark.parametrize(
    ("more", "code"),
    [
        (["--rows", "0"], b"usage.input_invalid"),
        (["--statements", "/nowhere.jsonl"], b"usage.file_missing"),
        (["--count", "0"], b"usage.nothing_proven"),
        (["--count", "x"], b"usage.input_invalid"),
        (["--database", "oracle://x"], b"usage.database_unsupported"),
        (["--database", "sqlite:////nowhere.db"], b"usage.database_unreachable"),
    ],
)
def test_what_is_wrong_is_status_2(shop: Path, more: list[str], code: bytes) -> None:
    done = call(*arguments(shop), *more)
    assert done.status == 2
    assert code in done.stderr


def test_statements_that_are_none_are_told(shop: Path) -> None:
    (shop / "bad.jsonl").write_text('{"sql": 1}\n')
    done = call(*arguments(shop), "--statements", str(shop / "bad.jsonl"))
    assert done.status == 2
    assert b"Line 1" in done.stderr


def test_what_is_not_tried_is_told(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "odd.db")) as connection:
        connection.executescript(
            "CREATE TABLE people (id INTEGER PRIMARY KEY, ssn TEXT, n INTEGER NOT NULL CHECK (n > 10 AND n < 5));"
            "CREATE TABLE pets (id INTEGER PRIMARY KEY, chip TEXT NOT NULL, owner INTEGER);"
            "CREATE VIEW shown AS SELECT id, chip FROM pets;"
        )
    policy = Policy.from_text(
        "version: 1\nrules:\n  - {id: r, effect: allow, actions: [select], relations: ['*']}\ncolumns:\n"
        "  people.ssn: {mask: full}\n  pets.chip: {mask: full}\n  shown.id: {mask: full}\nrows:\n  pets: 'id >= 0'\n"
    )
    report = prove(policy, f"sqlite:///{tmp_path / 'odd.db'}", Principal("ana"), count=1, rows=5)
    told = dict(report.unproven)
    assert set(told) == {"shown.id", "people.ssn", "pets"}
    assert told["people.ssn"] == "its table took no rows"
    assert told["pets"] == "its filter hides none of the rows that were made"
    assert dict(report.left_out)["people"].startswith("CHECK constraint failed")
    assert report.rows == {"pets": 5}
