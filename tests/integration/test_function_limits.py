"""What holds for every function, which knows nothing of it: how often, how long, how much; and that a refused call never runs."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from guardrails import ApprovalRequired, Denied, Guard, Principal
from guardrails.approval import ApprovalStore
from guardrails.approval.place import Place
from guardrails.errors import EngineError, GuardrailsError
from guardrails.model import Rate
from guardrails.rates import RateCounter, rate_key
from tests.support.function_guard import ANA, LEAD, function_guard, recorded

BO = Principal("bo@example.com", frozenset({"support"}))
SECONDS = "  echo: {seconds: 0.2}\n  postpone: {seconds: 0.2}\n  slow: {seconds: 0.2}\n"


@pytest.fixture
def guard(sqlite_path: Path, tmp_path: Path) -> Iterator[Guard]:
    with function_guard(sqlite_path, tmp_path, more=SECONDS) as opened, opened.session(principal=ANA):
        yield opened


def refused(call: Callable[[], object]) -> str:
    try:
        call()
    except GuardrailsError as error:
        return error.code
    return "ok"


RATES = """
rates:
  - {tools: [plain], calls: 3, per: 1h}
  - {tools: ["pl*", refund], calls: 5, per: 2h}
"""


def test_a_principal_calls_a_tool_so_often_and_is_told_when_to_try_again(sqlite_path: Path, tmp_path: Path) -> None:
    ran: list[int] = []
    with function_guard(sqlite_path, tmp_path, more=RATES) as guard:

        @guard.action("plain")
        def plain(n: int) -> None:
            ran.append(n)

        @guard.action("many")
        def many() -> None: ...

        with guard.session(principal=ANA, agent="one"):
            for n in range(3):
                plain(n)
            with pytest.raises(Denied) as caught:
                plain(3)
        assert caught.value.code == "limit.rate"
        assert "3600 seconds" in caught.value.for_model() or "3599 seconds" in caught.value.for_model()
        with guard.session(principal=ANA, agent="other"):
            assert refused(lambda: plain(4)) == "limit.rate"  # the person, through whichever agent
            assert [refused(many) for _ in range(9)] == ["ok"] * 9
        with guard.session(principal=BO):
            plain(5)
        with guard.session(principal=Principal(ANA.id, ANA.groups, issuer="https://elsewhere.example")):
            plain(6)
        assert ran == [0, 1, 2, 5, 6]
        refusals = recorded(guard, "refusal")
    assert [(e["action"]["name"], e["decision"]["reasons"][0]["code"]) for e in refusals] == [("plain", "limit.rate")] * 2
    with function_guard(sqlite_path, tmp_path, more=RATES) as again, again.session(principal=ANA):
        assert refused(lambda: again.call_action(lambda: None, {}, name="plain")) == "limit.rate"


def test_the_window_slides(sqlite_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_ns = [time.time_ns()]
    monkeypatch.setattr("guardrails.rates.time.time_ns", lambda: now_ns[0])
    with function_guard(sqlite_path, tmp_path, more=RATES) as guard, guard.session(principal=ANA):
        call = lambda: guard.call_action(lambda: None, {}, name="plain")  # noqa: E731
        told = []
        for minutes in (0, 20, 40, 59, 60, 61, 79, 80, 119, 120, 121, 140, 141):
            now_ns[0] = now_ns[0] - now_ns[0] % 10**15 + minutes * 60 * 10**9
            told.append((minutes, refused(call)))
    # Three within an hour, and five within two.
    allowed = [minutes for minutes, code in told if code == "ok"]
    assert allowed == [0, 20, 40, 60, 80, 120, 140]


@pytest.mark.parametrize("kind", ["threads", "tasks"])
def test_of_many_calls_at_once_exactly_so_many_run(sqlite_path: Path, tmp_path: Path, kind: str) -> None:
    ran: list[int] = []
    with function_guard(sqlite_path, tmp_path, more=RATES) as guard:

        @guard.action("plain")
        def plain(n: int) -> None:
            ran.append(n)

        def one(n: int) -> str:
            with guard.session(principal=ANA):
                return refused(lambda: plain(n))

        async def main() -> list[object]:
            with guard.session(principal=ANA):
                calls = [guard.acall_action(lambda n: ran.append(n), {"n": n}, name="plain") for n in range(32)]
                return [getattr(r, "code", "ok") for r in await asyncio.gather(*calls, return_exceptions=True)]

        if kind == "threads":
            with ThreadPoolExecutor(32) as pool:
                told: list[Any] = list(pool.map(one, range(32)))
        else:
            told = asyncio.run(main())
    assert (len(ran), told.count("ok"), told.count("limit.rate")) == (3, 3, 29)


def call_often(database: Path, folder: Path) -> list[str]:
    with function_guard(database, folder, more=RATES) as guard, guard.session(principal=ANA):
        return [refused(lambda: guard.call_action(lambda: None, {}, name="plain")) for _ in range(4)]


def test_processes_that_share_a_ledger_share_the_rates(sqlite_path: Path, tmp_path: Path) -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        elsewhere = pool.submit(call_often, sqlite_path, tmp_path)
        told = call_often(sqlite_path, tmp_path) + elsewhere.result(timeout=60)
    assert (told.count("ok"), told.count("limit.rate")) == (3, 5)


def test_in_a_server_the_rates_hold_for_every_connection(new_postgres: Callable[[], str]) -> None:
    url = new_postgres()
    store = ApprovalStore.open(url)
    counters = [RateCounter(Place.parse(url)) for _ in range(8)]
    rates, caller = (Rate(5, 3600),), rate_key(ANA, "plain")

    def take(counter: RateCounter) -> list[bool]:
        return [counter.take(caller, rates).is_granted for _ in range(3)]

    with ThreadPoolExecutor(8) as pool:
        granted = [one for some in pool.map(take, counters) for one in some]
    assert granted.count(True) == 5
    again = counters[0].take(rate_key(BO, "plain"), rates)
    assert again.is_granted
    assert 3590 < counters[1].take(caller, rates).wait_s <= 3600
    counters[0].give_back(rate_key(BO, "plain"), again.call)
    for closing in (*counters, store):
        closing.close()


def test_what_waits_or_is_refused_is_not_counted_and_what_cannot_be_counted_is_refused(
    sqlite_path: Path, tmp_path: Path
) -> None:
    rates = 'rates: [{tools: [refund, query, "shop.*"], calls: 1, per: 1h}]\n'
    with function_guard(sqlite_path, tmp_path, more=rates) as guard, guard.session(principal=ANA):
        refund = guard.action("refund")(lambda order: order)
        for _ in range(3):
            with pytest.raises(ApprovalRequired) as waiting:
                refund(1)
        guard.approve(waiting.value.request.id, by=LEAD)
        assert refund(1) == 1
        with pytest.raises(Denied) as caught:
            refund(1)
        assert caught.value.code == "limit.rate"
        assert guard.pending() == []  # nobody is asked about a call that may not be made
        query = guard.tool(name="query")(lambda sql: [])
        assert refused(lambda: query("DROP TABLE orders")) != "limit.rate"
        assert [refused(lambda: query("SELECT 1")) for _ in range(2)] == ["ok", "limit.rate"]
        assert recorded(guard, "refusal")[-1]["statement"]["kind"] == "select"
        guard._running.rates.close()
        (tmp_path / "audit.db.rates").write_bytes(b"not a database" * 100)
        ran: list[int] = []
        guard_call = guard.action("shop.send")(ran.append)
        assert refused(lambda: guard_call(1)) == "limit.uncounted"
        assert ran == []
        assert recorded(guard, "refusal")[-1]["decision"]["reasons"][0]["code"] == "limit.uncounted"


def test_a_function_that_takes_too_long_is_cut_off_or_its_result_is_not_used(guard: Guard) -> None:
    release = threading.Event()
    cancelled: list[str] = []

    async def hangs() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append("cancelled")
            raise
        return "never"

    async def refuses_to_stop() -> str:
        while not release.is_set():
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                cancelled.append("ignored")
        return "late"

    def waits() -> str:
        release.wait(30)
        return "late"

    async def forever() -> AsyncIterator[int]:
        while True:
            yield 1
            await asyncio.sleep(0.1)

    def late() -> str:
        threading.Event().wait(0.3)
        return "late"

    async def main() -> None:
        for function in (hangs, waits, forever, refuses_to_stop):
            began = time.monotonic()
            with pytest.raises(EngineError) as caught:
                await guard.acall_action(function, {}, name="postpone")
            assert caught.value.code == "engine.unknown_outcome"
            assert time.monotonic() - began < 3
        release.set()

    asyncio.run(main())
    assert cancelled[:1] == ["cancelled"]
    release.clear()
    with pytest.raises(EngineError) as threaded:
        guard.call_action(waits, {}, name="slow", in_thread=True)
    with pytest.raises(EngineError) as overtime:
        guard.call_action(late, {}, name="echo")
    release.set()
    assert {threaded.value.code, overtime.value.code} == {"engine.unknown_outcome"}
    outcomes = recorded(guard, "outcome")
    assert [(e["status"], e["error"]) for e in outcomes] == [("unknown", "engine.unknown_outcome")] * 6
    # A read that took too long has changed nothing.
    with pytest.raises(EngineError) as read:
        guard.call_tool(lambda sql: late(), {"sql": "SELECT 1"}, tool="slow")
    assert read.value.code == "engine.timeout"
    assert recorded(guard, "outcome")[-1]["status"] == "error"


@pytest.mark.parametrize(
    ("returned", "code"),
    [
        ([1] * 20, "ok"),
        ([1] * 21, "limit.rows"),
        ({"rows": [1] * 21}, "limit.rows"),
        ((1,) * 21, "limit.rows"),
        ("x" * 10_000, "ok"),
        ("x" * 10_001, "limit.bytes"),
        ([["x" * 6000], {"a": "x" * 6000}], "limit.bytes"),
        (b"x" * 10_001, "limit.bytes"),
    ],
    ids=["rows", "more-rows", "named-rows", "tuple", "text", "long-text", "nested", "bytes"],
)
def test_no_function_hands_back_more_than_allowed(guard: Guard, returned: object, code: str) -> None:
    assert refused(lambda: guard.call_tool(lambda sql: returned, {"sql": "SELECT 1"}, tool="query")) == code
    assert refused(lambda: guard.call_action(lambda: returned, {}, name="plain")) == code
    assert [e.get("error", "ok") for e in recorded(guard, "outcome")] == [code] * 2

    async def later() -> object:
        return returned

    assert refused(lambda: asyncio.run(guard.acall_action(later, {}, name="plain"))) == code  # type: ignore[arg-type]


def test_a_generator_without_end_is_stopped(guard: Guard) -> None:
    closed: list[str] = []

    def endless(size: int) -> Iterator[str]:
        try:
            while True:
                yield "x" * size
        finally:
            closed.append("closed")

    async def aendless(size: int) -> AsyncIterator[str]:
        try:
            while True:
                yield "x" * size
        finally:
            closed.append("closed")

    for size, code in ((1, "limit.rows"), (5000, "limit.bytes")):
        assert refused(lambda size=size: guard.call_action(endless, {"size": size}, name="many")) == code  # type: ignore[misc]
        acall = guard.acall_action(aendless, {"size": size}, name="many")
        assert refused(lambda acall=acall: asyncio.run(acall)) == code  # type: ignore[misc]
    assert closed == ["closed"] * 4


def test_one_yes_lets_one_of_many_racing_calls_run(guard: Guard) -> None:
    ran: list[int] = []
    refund = guard.action("refund")(lambda order: ran.append(order))
    delete = guard.tool(name="remove")(lambda sql: ran.append(0))
    started = threading.Barrier(32)

    def one(call: Callable[[], object]) -> str:
        with guard.session(principal=ANA):
            started.wait()
            return refused(call)

    for call in (lambda: refund(7), lambda: delete("DELETE FROM orders WHERE id = 2")):
        ran.clear()
        for _ in range(3):  # an agent that tries again and again
            assert refused(call) == "approval.required"
        (request,) = guard.pending()
        guard.approve(request.id, by=LEAD)
        with ThreadPoolExecutor(32) as pool:
            told = list(pool.map(one, [call] * 32))
        assert (len(ran), told.count("ok"), told.count("approval.required")) == (1, 1, 31)
        (again,) = guard.pending()
        guard.deny(again.id, by=LEAD)
        assert [refused(call) for _ in range(3)] == ["approval.denied"] * 3
        assert len(ran) == 1


def test_arguments_that_change_meanwhile_are_those_that_were_judged(guard: Guard) -> None:
    received: list[object] = []
    orders = [1]
    refund = guard.action("refund")(lambda orders: received.append(list(orders)))
    with pytest.raises(ApprovalRequired) as waiting:
        refund(orders)
    guard.approve(waiting.value.request.id, by=LEAD)
    orders.append(2)
    with pytest.raises(ApprovalRequired):
        refund(orders)
    assert received == []
    # From another thread, between the judgement and the call.
    orders.pop()
    guard._running.observer = lambda event: orders.append(3) if event.stage == "intent" else None
    refund(orders)
    assert (received, orders) == ([[1]], [1, 3])


def test_an_approval_holds_for_the_other_arguments_of_a_statement_too(guard: Guard) -> None:
    ran: list[str] = []
    run = guard.tool(name="run")(lambda sql, target: ran.append(target))
    sql = "DELETE FROM orders WHERE id = 2"
    with pytest.raises(ApprovalRequired) as waiting:
        run(sql, "test")
    assert waiting.value.request.understood["arguments"] == {"target": "test"}
    guard.approve(waiting.value.request.id, by=LEAD)
    assert refused(lambda: run(sql, "production")) == "approval.required"
    run(sql, "test")
    assert ran == ["test"]
    intent = recorded(guard, "intent")[-1]
    assert intent["call"] == {"arguments": ["target"]}
    assert "arguments" in intent["commitments"]


def test_an_observer_that_fails_stops_nothing_and_hides_nothing(guard: Guard) -> None:
    def observer(event: object) -> None:
        raise RuntimeError("a display is broken")

    guard._running.observer = observer
    assert guard.call_action(lambda: "done", {}, name="plain") == "done"
    assert [e["type"] for e in recorded(guard)] == ["intent", "outcome"]


def test_what_cannot_be_bound_to_an_approval_does_not_run(guard: Guard) -> None:
    ran: list[object] = []
    assert refused(lambda: guard.call_action(ran.append, {"object": object()}, name="refund")) == "usage.input_invalid"
    assert (ran, recorded(guard, "refusal")[-1]["action"]["name"]) == ([], "refund")


def test_entries_and_approvers_see_of_arguments_what_the_policy_lets_them(guard: Guard, tmp_path: Path) -> None:
    text = {"to": "ana@example.org", "subject": "for bo@example.org", "body": "s3cret body", "number": 2}
    guard.call_action(lambda **_: None, text, name="send")
    action = recorded(guard, "intent")[-1]["action"]
    assert action["arguments"] == ["body", "number", "subject", "to"]
    assert action["shown"] == [
        {"name": "subject", "value": "for [email]", "as": "show"},
        {"name": "to", "value": "***@example.org", "as": "email"},
    ]
    with pytest.raises(ApprovalRequired) as waiting:
        guard.call_action(
            lambda **_: None,
            {"order": "o-1 ana@example.org", "secret": "s3cret", "to": "x@y.org", "why": "a@b.org"},
            name="refund",
        )
    statement = waiting.value.request.statement
    assert statement is not None
    assert statement.params == {"order": "o-1 ana@example.org", "secret": "***", "to": "***@y.org", "why": "[email]"}
    guard.call_action(lambda **_: None, {"to": ["a@b.org"], "subject": 1.5, "body": object()}, name="send")
    assert recorded(guard, "intent")[-1]["action"]["shown"] == [
        {"name": "subject", "value": "1.5", "as": "show"},
        {"name": "to", "value": "***", "as": "email"},
    ]
    files = b"".join(path.read_bytes() for path in tmp_path.glob("audit.db*"))
    assert b"s3cret" not in files


class Stop(BaseException):
    """What some libraries stop with."""


@pytest.mark.parametrize(
    "kind", [Stop, KeyboardInterrupt, SystemExit, GeneratorExit, StopIteration, asyncio.CancelledError, ValueError]
)
@pytest.mark.parametrize("how", ["plain", "thread", "async"])
def test_whatever_a_function_ends_with_an_outcome_follows(guard: Guard, kind: type[BaseException], how: str) -> None:
    def fails() -> None:
        raise kind

    with suppress(BaseException):
        if how == "async":
            asyncio.run(guard.acall_action(fails, {}, name="plain"))  # type: ignore[arg-type]
        else:
            guard.call_action(fails, {}, name="plain", in_thread=how == "thread")
    intent, outcome = recorded(guard)
    assert (outcome["type"], outcome["intent"]) == ("outcome", intent["id"])
    assert outcome["status"] in ("error", "unknown")


def test_a_loop_that_is_shut_down_leaves_no_intent_without_outcome(guard: Guard) -> None:
    begun = threading.Event()

    async def hangs() -> None:
        begun.set()
        await asyncio.Event().wait()

    async def main() -> None:
        task = asyncio.ensure_future(guard.acall_action(hangs, {}, name="plain"))
        while not begun.is_set():
            await asyncio.sleep(0)
        task.get_name()

    asyncio.run(main())
    assert [(e["type"], e.get("status")) for e in recorded(guard)] == [("intent", None), ("outcome", "unknown")]
