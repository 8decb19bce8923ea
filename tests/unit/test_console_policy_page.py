"""The policy page and the page of the dry run: who sees what of them, and that forms cannot say more than their senders may."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.support.console_api import Working, open_console

SQL = "SELECT name, email FROM customers WHERE region = 'north'"


@pytest.fixture(scope="module")
def working(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Working]:
    with open_console(tmp_path_factory.mktemp("policy")) as opened:
        yield opened


def tried(working: Working, name: str, **fields: str) -> str:
    client = working.browser(name)
    found = client.post("/try", data={"csrf_token": working.form_token(client), "sql": SQL} | fields)
    return found.text


def marks(page: str) -> list[tuple[str, str]]:
    """The coloured names of the statement, in order."""
    shown = page.partition('<pre class="sql coloured"')[2].partition("</pre>")[0]
    return [(text, fate) for fate, text in re.findall(r'<mark class="fate is-(\w+)"[^>]*>([^<]+)</mark>', shown)]


def test_auditors_see_the_policy_with_lines_meanings_and_hits(working: Working) -> None:
    page = working.browser("ada").get("/policy")
    assert page.status_code == 200
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.text))
    assert "read-shop line 6" in text
    assert "no-amounts" in text
    assert "region = principal.region" in text.replace("  ", " ")
    assert "aggregates over 5 rows or more" in text
    assert "1 allowed" in text
    assert "1 refused" in text
    assert "3 waiting" in text
    assert re.search(r'<a href="/ledger/\d+">', page.text)


@pytest.mark.parametrize("name", ["vic", "ana", "lee"])
def test_nobody_else_sees_the_policy(working: Working, name: str) -> None:
    client = working.browser(name)
    assert client.get("/policy").status_code == 403
    page = client.get("/try").text
    assert 'href="/policy"' not in page
    assert 'name="groups"' not in page
    assert "payroll" not in page


def test_a_statement_is_coloured_where_it_stands(working: Working) -> None:
    own = tried(working, "ana")
    assert "Would run" in own
    assert marks(own) == [("name", "read"), ("email", "masked"), ("customers", "read"), ("region", "read")]
    assert "What would run" not in own
    whole = tried(working, "ada", id="ana@example.com", groups="support, other", attributes='{"region": "north"}')
    assert marks(whole) == marks(own)
    assert "What would run" in whole
    assert "Decided by" in whole


def test_a_forged_field_does_not_make_somebody_else_of_who_asks(working: Working) -> None:
    sql = "SELECT name, salary FROM employees"
    forged = tried(working, "ana", sql=sql, id="fay@example.com", groups="finance, auditors", purpose="payroll")
    assert "There is no relation employees" in forged
    assert "for ana@example.com" in forged
    assert marks(forged) == []
    assert "Would run" in tried(working, "ada", sql=sql, id="fay@example.com", groups="finance", purpose="payroll")


def test_a_form_without_its_token_is_refused(working: Working) -> None:
    assert working.browser("ada").post("/try", data={"sql": SQL}).status_code == 403


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"sql": " "}, "There is no statement"),
        ({"params": "{"}, "The bound values are not valid JSON"),
        ({"params": '{"a": [1]}'}, "A value is neither"),
        ({"params": "3"}, "The bound values are a JSON object or array"),
        ({"attributes": "[1]", "id": "x"}, "The attributes are a JSON object"),
        ({"params": '{"a": NaN}'}, "not valid JSON"),
    ],
)
def test_what_is_malformed_is_told(working: Working, fields: dict[str, str], told: str) -> None:
    assert told in tried(working, "ada", **fields)


def test_bound_values_count(working: Working) -> None:
    sql = "SELECT name FROM customers WHERE id = :id"
    assert "sql.params_mismatch" in tried(working, "ana", sql=sql)
    assert "Would run" in tried(working, "ana", sql=sql, params='{"id": 7}')


def test_what_is_written_is_text_and_never_markup(working: Working) -> None:
    attack = "<script>alert(1)</script>"
    for fields in ({"sql": attack}, {"agent": attack}, {"id": attack}, {"purpose": attack}, {"params": attack}):
        page = tried(working, "ada", **fields)
        assert attack not in page
    page = tried(working, "ana", sql=f'SELECT name AS "{attack}" FROM customers -- {attack}')
    assert attack not in page


def test_htmx_gets_the_answer_alone(working: Working) -> None:
    client = working.browser("ana")
    headers = {"HX-Request": "true", "X-CSRF-Token": working.form_token(client)}
    part = client.post("/try", data={"sql": SQL}, headers=headers).text
    assert "<html" not in part
    assert "Would run" in part
