"""Guarded functions of every shape: what they receive, what they are called, and what is recorded of them."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pydantic import BaseModel, PrivateAttr

from guardrails import ApprovalRequired, Denied, Guard, Policy
from guardrails.errors import EngineError, UsageError
from guardrails.integrations._toolbox import reply_text
from tests.support.function_guard import ANA, function_guard, recorded

R = TypeVar("R")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def guard(sqlite_path: Path, tmp_path: Path) -> Iterator[Guard]:
    with function_guard(sqlite_path, tmp_path) as opened, opened.session(principal=ANA):
        yield opened


def names(guard: Guard) -> list[list[str]]:
    return [entry["action"]["arguments"] for entry in recorded(guard, "intent") if "action" in entry]


def test_arguments_go_where_the_signature_wants_them(guard: Guard) -> None:
    @guard.action("plain")
    def plain(a: int, /, b: int, *args: int, c: int = 3, **further: int) -> tuple[Any, ...]:
        return a, b, args, c, further

    assert plain(1, 2) == (1, 2, (), 3, {})
    assert plain(1, 2, 5, 6, c=4, d=7) == (1, 2, (5, 6), 4, {"d": 7})
    assert names(guard) == [["a", "args", "b", "c"], ["a", "args", "b", "c", "d"]]
    with pytest.raises(TypeError):
        plain(1)  # type: ignore[call-arg]
    with pytest.raises(UsageError):
        plain(1, 2, args=1)
    assert len(names(guard)) == 2
    assert str(inspect.signature(plain)).startswith("(a: 'int', /, b: 'int', *args")


def test_methods_are_judged_without_their_receiver(guard: Guard) -> None:
    @dataclass
    class Shop:
        name: str

        @guard.action("shop.plain")
        def plain(self, order: int) -> str:
            return f"{self.name} {order}"

        @guard.action("shop.over")
        @staticmethod
        def over(order: int) -> int:
            return order

        @staticmethod
        @guard.action("shop.under")
        def under(order: int) -> int:
            return order

        @guard.action("shop.made")
        @classmethod
        def made(cls, order: int) -> str:
            return f"{cls.__name__} {order}"

        @classmethod
        @guard.action("shop.found")
        def found(cls, order: int) -> str:
            return f"{cls.__name__} {order}"

        @guard.tool(name="shop.query")
        def query(self, sql: str) -> list[dict[str, Any]]: ...

        @guard.action("shop.later")
        async def later(self, order: int) -> str:
            return f"{self.name} {order}"

    one, other = Shop("one"), Shop("other")
    assert (one.plain(1), other.plain(order=2), Shop.plain(one, 3)) == ("one 1", "other 2", "one 3")
    assert (one.over(4), Shop.over(4), Shop.under(5), one.made(6), Shop.found(7)) == (4, 4, 5, "Shop 6", "Shop 7")
    assert one.query("SELECT count(*) AS n FROM orders") == [{"n": 4}]
    assert asyncio.run(one.later(8)) == "one 8"
    assert Shop.plain.__qualname__.endswith("Shop.plain")
    with pytest.raises(AttributeError):
        Shop.plain("text", 9)  # type: ignore[arg-type]
    assert recorded(guard, "intent")[-1]["action"]["arguments"] == ["order", "self"]  # data is no receiver
    assert {tuple(e["action"]["arguments"]) for e in recorded(guard, "intent") if "action" in e} == {
        ("order",),
        ("order", "self"),
    }


def test_of_a_class_every_public_method_is_an_action(guard: Guard) -> None:
    class Base:
        def inherited(self) -> str:
            return "inherited"

    @guard.action("shop")
    class Shop(Base):
        def plain(self, order: int) -> int:
            return self._hidden(order)

        def _hidden(self, order: int) -> int:
            return order

        @staticmethod
        def still(order: int) -> int:
            return order

        @classmethod
        def made(cls) -> str:
            return cls.__name__

        @guard.action("echo")
        def named(self) -> str:
            return "named"

        async def later(self) -> str:
            return "later"

    shop = Shop()
    assert (shop.plain(1), shop.still(2), Shop.made(), shop.inherited(), shop.named()) == (1, 2, "Shop", "inherited", "named")
    assert asyncio.run(shop.later()) == "later"
    actions = [entry["action"]["name"] for entry in recorded(guard, "intent")]
    assert actions == ["shop.plain", "shop.still", "shop.made", "shop.inherited", "echo", "shop.later"]

    @guard.action("report")
    class Report:
        def __call__(self, number: int) -> int:
            return number

    assert Report()(3) == 3
    with pytest.raises(UsageError, match="no public methods"):
        guard.action("nothing")(type("Empty", (), {}))
    with pytest.raises(UsageError, match="is no function"):
        guard.tool(Report)


def test_partial_functions_and_objects_that_can_be_called(guard: Guard) -> None:
    def send(to: str, body: str = "") -> str:
        return f"{to}: {body}"

    class Caller:
        async def __call__(self, number: int) -> int:
            return number

    assert guard.action(functools.partial(send, body="hello"))("ana") == "ana: hello"
    later = guard.action("postpone")(Caller())
    assert inspect.iscoroutinefunction(later)
    assert asyncio.run(later(3)) == 3  # type: ignore[arg-type]

    def stub(sql: str, limit: int = 1) -> list[dict[str, Any]]: ...

    assert guard.tool(functools.partial(stub, limit=2))("SELECT 1 AS one") == [{"one": 1}]
    assert names(guard)[0] == ["body", "to"]


def test_other_decorators_may_stand_above_and_below(guard: Guard) -> None:
    def twice(function: Callable[..., R]) -> Callable[..., R]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> R:
            function(*args, **kwargs)
            return function(*args, **kwargs)

        return wrapper

    calls: list[int] = []

    @twice
    @guard.action("plain")
    def above(number: int) -> int:
        calls.append(number)
        return number

    @guard.action("echo")
    @twice
    def below(number: int) -> int:
        calls.append(number)
        return number

    assert (above(1), below(2)) == (1, 2)
    assert calls == [1, 1, 2, 2]
    assert len(recorded(guard, "intent")) == 3

    def plainly(function: Callable[..., R]) -> Callable[..., R]:
        return lambda number: function(number)

    @guard.action("postpone")
    @plainly
    async def hidden(number: int) -> int:
        raise AssertionError("what only an event loop can run does not begin in a synchronous call")

    with pytest.raises(UsageError, match="something to await"):
        hidden(1)


def test_a_guarded_tool_may_call_another(guard: Guard) -> None:
    @guard.tool(name="inner")
    def inner(sql: str) -> list[dict[str, Any]]: ...

    @guard.action("outer")
    def outer(depth: int) -> int:
        return outer(depth - 1) if depth else int(inner("SELECT count(*) AS n FROM orders")[0]["n"])

    @guard.action("postpone")
    async def later(depth: int) -> int:
        return await later(depth - 1) if depth else outer(1)

    assert outer(2) == 4
    assert asyncio.run(later(2)) == 4
    assert [e["tool"] for e in recorded(guard, "intent")] == ["outer"] * 3 + ["inner"] + ["postpone"] * 3 + ["outer"] * 2 + [
        "inner"
    ]
    assert {e["status"] for e in recorded(guard, "outcome")} == {"ok"}


def test_context_variables_reach_the_function_wherever_it_runs(guard: Guard) -> None:
    known: contextvars.ContextVar[str] = contextvars.ContextVar("known", default="")

    @guard.action("plain")
    def plain() -> tuple[str, int]:
        return known.get(), threading.get_ident()

    @guard.action("echo", in_thread=True)
    def threaded() -> tuple[str, int]:
        return known.get(), threading.get_ident()

    @guard.action("postpone")
    async def later() -> str:
        return known.get()

    known.set("here")
    here = threading.get_ident()
    assert plain() == ("here", here)
    assert threaded()[0] == "here"
    assert threaded()[1] != here
    assert asyncio.run(later()) == "here"


def test_data_of_any_kind_is_judged_by_its_fields_and_copied(guard: Guard) -> None:
    class Mail(BaseModel):
        address: str

    @dataclass(frozen=True)
    class Order:
        number: int
        mails: list[Mail]

    received: list[Any] = []

    @guard.action("mail")
    def mail(to: str, tags: list[str], order: Order, connection: object) -> None:
        received.extend((tags, order, connection))

    tags, order, connection = ["a"], Order(1, [Mail(address="x")]), object()
    mail("bo@example.com", tags, order, connection)
    assert received == [tags, order, connection]
    assert received[0] is not tags
    assert received[1] is not order
    assert received[2] is connection
    for to, many in (("bo@example.org", []), ("bo@example.com", ["a", "b", "c"])):
        with pytest.raises(Denied):
            mail(to, many, order, connection)
    with pytest.raises(Denied) as caught:
        mail(object(), [], order, connection)  # type: ignore[arg-type]
    assert caught.value.code == "policy.condition_error"
    assert len(received) == 3


class Status(Enum):
    OPEN = "open"
    MAILED = "ana@example.org"


class Level(StrEnum):
    LOW = "low"
    MAILED = "ana@example.org"


def test_members_of_enumerations_and_paths_are_data(guard: Guard) -> None:
    class Report(BaseModel):
        status: Status
        level: Level
        file: Path

    @guard.action("plain")
    def plain(page: object) -> object:
        return made

    made: Any = Report(status=Status.OPEN, level=Level.LOW, file=Path("/reports/1"))
    assert plain(1) is made
    assert reply_text(made) == '{"status":"open","level":"low","file":"/reports/1"}'
    made = {"status": Status.MAILED, "level": Level.MAILED, "file": Path("/for/ana@example.org")}
    assert plain(1) == {"status": "[email]", "level": "[email]", "file": "/for/[email]"}
    made = {7: "ana@example.org", (1, "bo@example.org"): 2, Status.OPEN: 3, Status.MAILED: 4}
    assert plain(1) == {7: "[email]", "(1, '[email]')": 2, Status.OPEN: 3, "[email]": 4}


def test_results_keep_their_type_and_are_looked_through(guard: Guard) -> None:
    class Mail(BaseModel):
        to: str
        copies: list[str] = []

    @dataclass(frozen=True, slots=True)
    class Page:
        mails: list[Mail]
        note: str = ""

    class Secret(BaseModel):
        _hidden: str = PrivateAttr("ana@example.org")

    @guard.action("plain")
    def plain(page: object) -> object:
        return made

    clean = Page([Mail(to="x")])
    made: Any = clean
    assert plain(1) is clean
    made = Page([Mail(to="ana@example.org", copies=["bo"])], "for bo@example.org")
    shown: Any = plain(1)
    assert shown == Page([Mail(to="[email]", copies=["bo"])], "for [email]")
    assert made.note == "for bo@example.org"
    made = Secret()
    with pytest.raises(UsageError):
        plain(1)
    made = Page([], "x" * 20_000)
    with pytest.raises(EngineError, match="bytes"):
        plain(1)
    made = Page([Mail(to="x")] * 21)
    with pytest.raises(EngineError, match="rows"):
        plain(1)


@pytest.mark.parametrize("kind", ["plain", "coroutine", "generator", "asyncgen"])
def test_what_is_called_twice_or_never_runs_so_often(guard: Guard, kind: str) -> None:
    ran: list[int] = []

    @guard.action("plain")
    def plain(n: int) -> int:
        ran.append(n)
        return n

    @guard.action("postpone")
    async def coroutine(n: int) -> int:
        ran.append(n)
        return n

    @guard.action("many")
    def generator(n: int) -> Iterator[int]:
        ran.append(n)
        yield n

    @guard.action("echo")
    async def asyncgen(n: int) -> AsyncIterator[int]:
        ran.append(n)
        yield n

    async def drained(items: AsyncIterator[int]) -> list[int]:
        return [item async for item in items]

    function: Any = {"plain": plain, "coroutine": coroutine, "generator": generator, "asyncgen": asyncgen}[kind]
    if kind != "plain":
        never = function(1)
        never.close() if kind != "asyncgen" else asyncio.run(never.aclose())
    assert (ran, recorded(guard)) == ([], [])
    result = function(2)
    match kind:
        case "coroutine":
            asyncio.run(result)
        case "generator":
            list(result)
        case "asyncgen":
            asyncio.run(drained(result))
    assert ran == [2]
    assert [e["type"] for e in recorded(guard)] == ["intent", "outcome"]


def test_a_generator_that_fails_says_nothing_of_the_data(guard: Guard) -> None:
    @guard.tool
    def rows(sql: str) -> Iterator[int]:
        yield 1
        raise RuntimeError("row contains 123-45-6789")

    with pytest.raises(EngineError) as caught:
        list(rows("SELECT 1"))
    assert "123-45" not in str(caught.value)
    assert recorded(guard)[-1]["status"] == "error"


def test_names_that_no_rule_could_tell_apart_are_refused(guard: Guard) -> None:
    @guard.tool
    def query(sql: str) -> list[dict[str, Any]]: ...

    def again() -> Callable[..., Any]:
        @guard.action("made")
        def made() -> None: ...

        return made

    again()
    again()  # the same function, made once more
    for word in ("select", "write"):
        with pytest.raises(UsageError, match="cannot be the name of a tool"):
            guard.action(word)(lambda: None)
        guard.tool(name=word)(lambda sql: sql)  # what it does is what its statements do
    for wrong in (lambda sql: sql, "has space", "", "a*", "x" * 201, "naïve\n"):
        with pytest.raises(UsageError) as caught:
            guard.tool(wrong) if callable(wrong) else guard.tool(name=wrong)(query)
        assert caught.value.code == "usage.tool_unguardable"
        assert "name" in caught.value.hint
    with pytest.raises(UsageError, match="Two functions would be the tool query"):

        @guard.action("query")
        def other() -> None: ...

    with pytest.raises(UsageError, match="has no argument 'sqll'"):
        guard.tool(sql="sqll", name="mistyped")(query)


TYPED = """
from collections.abc import AsyncIterator, Iterator
from guardrails import Guard

def check(guard: Guard) -> None:
    @guard.tool
    def plain(sql: str, limit: int = 1) -> list[str]: return []
    @guard.tool(name="named")
    async def coroutine(sql: str) -> int: return 1
    @guard.action("a.b")
    def positional(a: int, /, *args: str, b: bool = True, **more: float) -> Iterator[int]: yield 1
    @guard.action
    async def items(n: int) -> AsyncIterator[str]: yield ""
    class Shop:
        @guard.tool
        def method(self, sql: str) -> int: return 1
        @guard.action("c")
        @staticmethod
        def static(n: int) -> str: return ""
        @guard.action("d")
        @classmethod
        def made(cls, n: int) -> str: return ""
    @guard.action("shop")
    class Mailer:
        def send(self, to: str) -> int: return 1
    reveal_type(plain)
    reveal_type(coroutine)
    reveal_type(positional)
    reveal_type(items)
    reveal_type(Shop().method)
    reveal_type(Shop.static)
    reveal_type(Shop.made)
    reveal_type(Mailer().send)
    plain(1)
"""
REVEALED = [
    "def (sql: str, limit: int =) -> list[str]",
    "def (sql: str) -> typing.Coroutine[Any, Any, int]",
    "def (int, *args: str, b: bool =, **more: float) -> typing.Iterator[int]",
    "def (n: int) -> typing.AsyncIterator[str]",
    "def (sql: str) -> int",
    "def (n: int) -> str",
    "def (n: int) -> str",
    "def (to: str) -> int",
]


def test_a_type_checker_sees_the_same_signatures(tmp_path: Path) -> None:
    (tmp_path / "typed.py").write_text(TYPED)
    options = ["--strict", "--no-error-summary", "--no-site-packages", "--follow-imports=silent"]
    command = [sys.executable, "-m", "mypy", *options, "--cache-dir", str(tmp_path / "cache"), "typed.py"]
    environment = {**os.environ, "MYPYPATH": str(ROOT)}
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    told = ran.stdout
    plain = told.replace("builtins.", "").replace("collections.abc.", "typing.")
    assert [line.split('"')[1] for line in plain.splitlines() if "Revealed type" in line] == REVEALED, told
    errors = [line for line in plain.splitlines() if " error: " in line]
    assert len(errors) == 1, told
    assert '"plain" has incompatible type "int"; expected "str"' in errors[0]


class _Said(Exception):
    """Keeps what it says in an attribute, as frameworks' own do."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class _Stubborn(Exception):
    """Says something that nobody can change."""

    def __str__(self) -> str:
        return "Ask ada@example.com."


def test_what_an_action_raises_is_looked_through(guard: Guard) -> None:
    @guard.action("plain")
    def fail() -> None:
        raise _Said("No customer ada@example.com, card 4111 1111 1111 1111.")

    with pytest.raises(_Said) as raised:
        fail()
    assert str(raised.value) == raised.value.message == "No customer [email], card [card]."
    assert recorded(guard, "outcome")[-1]["error"] == "_Said"


def test_exceptions_of_a_group_are_looked_through(guard: Guard) -> None:
    @guard.action("plain")
    def fail() -> None:
        raise ExceptionGroup("several", [_Said("ada@example.com"), ValueError("none")])

    with pytest.raises(ExceptionGroup) as raised:
        fail()
    assert [str(part) for part in raised.value.exceptions] == ["[email]", "none"]


def test_what_says_it_all_the_same_is_not_passed_on(guard: Guard) -> None:
    @guard.action("plain")
    def fail() -> None:
        raise _Stubborn

    with pytest.raises(EngineError) as raised:
        fail()
    assert raised.value.code == "engine.failed"
    assert "ada" not in str(raised.value)


def test_what_is_raised_in_an_awaited_action_is_looked_through(guard: Guard) -> None:
    @guard.action("plain")
    async def fail() -> None:
        raise _Said("ada@example.com")

    with pytest.raises(_Said, match=r"^\[email\]$"):
        asyncio.run(fail())


@pytest.mark.parametrize("word", ["delete", "write", "all"])
def test_a_tool_named_like_an_action_is_allowed_nothing_by_its_name(word: str, sqlite_path: Path, tmp_path: Path) -> None:
    read = "{id: named, effect: allow, actions: [select], relations: [orders]}"
    ask = "{id: ask, effect: approve, actions: [delete], relations: [orders], approval: {groups: [leads]}}"
    database, ledger = f"sqlite:///{sqlite_path}", f"sqlite:///{tmp_path / 'named.db'}"
    with Guard.open(Policy.from_text(f"version: 1\nrules: [{read}, {ask}]"), database=database, ledger=ledger) as guard:
        tool = guard.tool(name=word)(lambda sql: pytest.fail("it ran"))
        with guard.session(principal=ANA):
            with pytest.raises(ApprovalRequired):
                tool("DELETE FROM orders WHERE id = 4")
            with pytest.raises(Denied):
                tool("UPDATE orders SET status = 'x' WHERE id = 4")
