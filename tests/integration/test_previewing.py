"""Examples of what a change would change, as its approvers may see them: under their own rights, recorded, and nothing beyond."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from guardrails import Principal
from guardrails.model import Impact
from guardrails.previewing import PreviewPart, PreviewRow, preview
from tests.support.changed_shop import ANA, LEA, Shop, fill, open_shop

KINDS = ("sqlite", "postgres", "mysql", "duckdb")
MAX = Principal("max@example.com", frozenset({"leads"}), {"region": "EU"})
SEES = Principal("sol@example.com", frozenset({"leads", "support", "everywhere"}), {"region": "US"})


@pytest.fixture(scope="module", params=KINDS)
def twins(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shop, Shop]]:
    """Two shops that differ in protected values which every mask shows alike."""

    def new_server(kind: str) -> str:
        made: Callable[[], str] = request.getfixturevalue("new_postgres" if kind == "postgres" else "new_mariadb")
        return made()

    first: Path = tmp_path_factory.mktemp(f"preview-{request.param}")
    second: Path = tmp_path_factory.mktemp(f"twin-{request.param}")
    with (
        open_shop(request.param, fill(request.param, first, new_server), first) as shop,
        open_shop(
            request.param, fill(request.param, second, new_server, email="eve@north.example", credit=199), second
        ) as other,
    ):
        yield shop, other


@pytest.fixture
def shop(twins: tuple[Shop, Shop]) -> Shop:
    return twins[0]


def _part(shop: Shop, sql: str, by: Principal = LEA, asks: Principal = ANA, **params: int) -> PreviewPart:
    seen = shop.look(sql, dict(params), by=by, asks=asks)
    assert (seen.code, len(seen.parts)) == ("", 1), seen
    return seen.parts[0]


def _rows(part: PreviewPart) -> list[tuple[object, object]]:
    return [(row.before, row.after) for row in sorted(part.rows, key=lambda r: repr(r.before or r.after))]


def test_an_update_shows_values_before_and_after(shop: Shop) -> None:
    part = _part(shop, "UPDATE orders SET amount = amount * 2 + :n, note = upper(note) WHERE amount BETWEEN 6 AND 7", n=1)
    assert (part.relation, part.action, part.columns, part.keys) == ("orders", "update", ("id", "amount", "note"), ("id",))
    assert _rows(part) == [((2, 6, "b"), (2, 13, "B")), ((3, 7, "c"), (3, 15, "C"))]
    assert part.is_complete
    assert [row.changed for row in part.rows] == [(False, True, True)] * 2


def test_masked_columns_show_masked_values_before_and_after(shop: Shop) -> None:
    part = _part(shop, "UPDATE customers SET email = 'new@east.example', credit = 333 WHERE id = 1")
    assert part.masked == ("email", "credit")
    assert _rows(part) == [((1, "***@north.example", 100), (1, "***@east.example", 300))]
    # Who sees the values shows them.
    part = _part(shop, "UPDATE customers SET email = 'new@east.example', credit = 333 WHERE id = 1", by=SEES)
    assert part.masked == ()
    assert _rows(part)[0][0] == (1, "ada@north.example", 120)


def test_what_is_made_of_masked_values_is_not_masked_twice(shop: Shop) -> None:
    part = _part(shop, "UPDATE customers SET credit = credit + 1, email = lower(email) WHERE id = 1")
    assert part.uncomputed == ("credit", "email")
    assert _rows(part) == [((1, 100, "***@north.example"), (1, None, None))]


def test_a_requester_and_an_approver_together_cannot_have_values_tokenised(shop: Shop) -> None:
    part = _part(shop, "UPDATE customers SET token = 't2' WHERE id = 1")
    assert part.uncomputed == ("token",)
    (before, after), = _rows(part)  # fmt: skip
    assert str(before[1]).startswith("tok_")  # type: ignore[index]
    assert after == (1, None)


@pytest.mark.parametrize(
    "condition",
    [
        "email = 'ada@north.example'",
        "id IN (SELECT c.id FROM customers c WHERE c.credit > 200)",
        "CASE WHEN token = 't1' THEN TRUE ELSE FALSE END",
    ],
)
def test_conditions_on_values_that_the_viewer_sees_masked_give_no_examples(shop: Shop, condition: str) -> None:
    sql = (
        f"UPDATE customers SET card = 'x' WHERE {condition}"
        if "SELECT" not in condition
        else f"DELETE FROM orders WHERE {condition}"
    )
    sql = sql.replace("SET card = 'x'", "SET credit = 1")
    part = _part(shop, sql)
    assert (part.code, part.rows) == ("preview.conditions_masked", ())
    assert _part(shop, sql, by=SEES).code == ""


def test_protected_values_never_show_in_a_preview(twins: tuple[Shop, Shop]) -> None:
    for sql in (
        "UPDATE customers SET email = 'n@o.example', credit = credit * 3, token = 'z' WHERE id < 3",
        "DELETE FROM customers WHERE id < 3",
        "DELETE FROM orders WHERE customer_id IN (SELECT c.id FROM customers c WHERE c.email LIKE 'ada%')",
        "UPDATE customers SET credit = 10 / (credit - 100) WHERE id = 1",
    ):
        shown = [shop.look(sql) for shop in twins]
        # Tokens come from each guard's own key.
        first, second = (repr(seen).split("tok_") for seen in shown)
        assert [text[20:] for text in first[1:]] == [text[20:] for text in second[1:]], sql
        assert first[0] == second[0], sql


def test_only_rows_that_both_may_see(shop: Shop) -> None:
    everything = "DELETE FROM customers WHERE id > 0"
    assert [b[0] for b, _ in _rows(_part(shop, everything))] == [1, 2]  # type: ignore[index]
    wide = replace(ANA, groups=ANA.groups | {"everywhere"})
    assert [b[0] for b, _ in _rows(_part(shop, everything, asks=wide))] == [1, 2, 3]  # type: ignore[index]
    assert [b[0] for b, _ in _rows(_part(shop, everything, by=MAX, asks=wide))] == [1, 2]  # type: ignore[index]
    # Also of what is only read.
    asking = "DELETE FROM orders WHERE EXISTS (SELECT 1 FROM customers c WHERE c.id = orders.customer_id)"
    assert [b[0] for b, _ in _rows(_part(shop, asking))] == [1, 2, 3]  # type: ignore[index]
    assert [b[0] for b, _ in _rows(_part(shop, asking, by=MAX, asks=wide))] == [1, 2, 3]  # type: ignore[index]
    assert [b[0] for b, _ in _rows(_part(shop, asking, asks=wide))] == [1, 2, 3, 4]  # type: ignore[index]


def test_a_deleted_row_shows_what_would_be_gone(shop: Shop) -> None:
    part = _part(shop, "DELETE FROM customers WHERE id = 1")
    assert part.columns == ("id", "email", "credit", "token", "card", "region")
    assert part.masked == ("email", "credit", "token", "card")
    (row,) = part.rows
    assert row.after is None
    assert row.before is not None
    assert row.before[:3] == (1, "***@north.example", 100)
    assert row.before[4:] == ("***", "EU")


def test_relations_that_the_viewer_may_not_read_stay_hidden(shop: Shop) -> None:
    part = _part(shop, "DELETE FROM secrets WHERE id = 1")
    assert (part.code, part.rows) == ("preview.hidden", ())
    part = _part(shop, "INSERT INTO secrets (id, body) VALUES (9, 'hush')")
    assert (part.code, part.rows) == ("preview.hidden", ())
    part = _part(shop, "INSERT INTO notes SELECT id + 100, body FROM secrets")
    assert (part.code, part.rows) == ("policy.denied", ())


def test_rows_that_the_text_gives(shop: Shop) -> None:
    part = _part(shop, "INSERT INTO orders (id, customer_id, amount, note) VALUES (60, 1, :n, 'x'), (61, -2, 1 + 1, NULL)", n=3)
    assert part.uncomputed == ("amount",)
    assert _rows(part) == [(None, (60, 1, None, "x")), (None, (61, -2, None, None))]
    wide = replace(ANA, groups=ANA.groups | {"everywhere"})
    given = "INSERT INTO customers (id, email, credit, token, region) VALUES (9, 'g@east.example', 250, 't9', 'EU')"
    part = _part(shop, given, asks=wide)
    assert (part.masked, part.uncomputed) == (("email", "credit", "token"), ("token",))
    assert _rows(part) == [(None, (9, "***@east.example", 200, None, "EU"))]


def test_rows_of_a_query(shop: Shop) -> None:
    part = _part(shop, "INSERT INTO notes SELECT id + 100, note FROM orders WHERE amount > 6")
    assert _rows(part) == [(None, (103, "c")), (None, (104, "d"))]


def test_rows_that_are_there_already(shop: Shop) -> None:
    start = "INSERT INTO orders (id, customer_id, amount) VALUES (1, 2, 3), (50, 2, 4)"
    if shop.kind == "mysql":
        sql = f"{start} ON DUPLICATE KEY UPDATE amount = VALUES(amount) + orders.amount"
    else:
        sql = f"{start} ON CONFLICT (id) DO UPDATE SET amount = excluded.amount + orders.amount WHERE orders.amount < 6"
    inserted, updated = shop.look(sql).parts
    assert (inserted.action, len(inserted.rows)) == ("insert", 2)
    assert (updated.action, updated.columns, _rows(updated)) == ("update", ("id", "amount"), [((1, 5), (1, 8))])


def test_more_rows_than_examples(shop: Shop) -> None:
    part = _part(shop, "UPDATE notes SET body = 'x'")
    assert (len(part.rows), part.is_complete) == (20, False)


def test_joins(shop: Shop) -> None:
    if shop.kind == "mysql":
        sql = "UPDATE orders JOIN items ON items.order_id = orders.id SET orders.note = 'i' WHERE orders.id < 3"
    else:
        sql = "UPDATE orders SET note = 'i' FROM items WHERE items.order_id = orders.id AND orders.id < 3"
    # Joined twice, and shown once.
    assert _rows(_part(shop, sql)) == [((1, "a"), (1, "i"))]


def test_several_changes_in_one_statement(shop: Shop) -> None:
    if shop.kind != "postgres":
        pytest.skip("Only PostgreSQL runs such statements through the guard.")
    moved, filed = shop.look(
        "WITH gone AS (DELETE FROM orders WHERE id < 3 RETURNING id, note) INSERT INTO notes SELECT id + 200, note FROM gone"
    ).parts
    assert (moved.relation, moved.action, len(moved.rows)) == ("orders", "delete", 2)
    assert (filed.relation, _rows(filed)) == ("notes", [(None, (201, "a")), (None, (202, "b"))])
    updated, inserted = shop.look(
        "MERGE INTO notes USING orders o ON notes.id = o.amount WHEN MATCHED AND o.id > 3 THEN DO NOTHING"
        " WHEN MATCHED THEN UPDATE SET body = o.note WHEN NOT MATCHED AND o.id = 1 THEN INSERT (id, body) VALUES (o.id + 70, 'n')"
    ).parts
    assert _rows(updated) == [((5, "note 5"), (5, "a")), ((6, "note 6"), (6, "b")), ((7, "note 7"), (7, "c"))]
    assert (inserted.action, inserted.rows) == ("insert", ())


def test_a_statement_that_reads_shows_what_the_viewer_would_see(shop: Shop) -> None:
    part = _part(shop, "SELECT id, card FROM customers WHERE id < 3")
    assert (part.action, part.columns, part.masked) == ("select", ("id", "card"), ("card",))
    assert _rows(part) == [((1, "***"), (1, "***")), ((2, "***"), (2, "***"))]
    # Whose own rights need an approval gets none by looking, and asks for none.
    part = _part(shop, "SELECT id, card FROM customers WHERE id < 3", by=SEES)
    assert (part.code, part.rows) == ("approval.required", ())


def test_only_who_may_answer_looks(shop: Shop) -> None:
    request = shop.ask("DELETE FROM notes WHERE id = 2")
    assert request.impact == Impact((("notes", 1),))
    itself = replace(ANA, groups=ANA.groups | {"leads"})
    assert preview(shop.guard, request, itself).code == "approval.self"
    assert preview(shop.guard, request, Principal("kim@example.com", {"sales"})).code == "approval.not_approver"
    assert preview(shop.guard, replace(request, statement=None), LEA).code == "preview.unsupported"
    assert preview(shop.guard, replace(request, kind="reveal"), LEA).code == "preview.unsupported"


def test_looking_is_recorded_as_the_viewers_own_reading(shop: Shop) -> None:
    request = shop.ask("DELETE FROM notes WHERE id = 3")
    size = shop.guard.ledger.size
    seen = preview(shop.guard, request, LEA)
    assert seen.parts[0].rows == (PreviewRow((3, "note 3"), None),)
    entries = [shop.guard.ledger.entry(i) for i in range(size, shop.guard.ledger.size)]
    (intent,) = [e for e in entries if e["type"] == "intent"]
    assert (intent["tool"], intent["tool_call"]) == ("preview", request.id)
    bound = next(e for e in entries if e["type"] == "key.bind" and e["session"] == intent["session"])
    assert "lea@example.com" in repr(bound)
    # No request of the viewer's own was filed, and nothing changed.
    assert not [e for e in entries if e["type"].startswith("approval.")]
    assert len(shop.state()["notes"]) == 25
