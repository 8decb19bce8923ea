"""The flow without any I/O: the steps and their order, driven by hand."""

from __future__ import annotations

import pytest

from guardrails import flow
from guardrails.errors import Denied, EngineError, LedgerError
from guardrails.masking import mask_expression
from guardrails.model import ApprovalGrant, Context, Execution, Principal, Result, Statement
from guardrails.policy import Policy
from guardrails.sql import catalog_from_ddl
from tests.support.corpus import DDL
from tests.support.guard_policies import SHOP

ANA = Principal("ana", frozenset({"support"}), {"region": "EU"})
CATALOG = catalog_from_ddl(DDL, "sqlite")
POLICY = Policy.from_text(SHOP).bind(CATALOG)
APPENDED = flow.Appended("entry", 0, "00")


def start(sql: str) -> tuple[flow.Flow, flow.Judgement]:
    judgement = flow.judge(
        Statement(sql), CATALOG, POLICY, ANA, Context(session_id="s"), lambda m, c: mask_expression(m, c, "sqlite", b"k" * 32)
    )
    return flow.run(judgement, ANA, Context(session_id="s"), {"name": "shop", "dialect": "sqlite"}), judgement


def until(steps: flow.Flow, kind: type[flow.Step]) -> flow.Step:  # type: ignore[valid-type]
    step = next(steps)
    while not isinstance(step, kind):  # type: ignore[arg-type]
        step = steps.send(APPENDED if isinstance(step, flow.Append) else None)
    return step


def test_intent_comes_before_execution_and_outcome_after() -> None:
    steps, _ = start("SELECT name FROM customers")
    order: list[str] = []
    step: flow.Step | None = next(steps)
    result: Result | None = None
    while step is not None:
        order.append(type(step).__name__ + (f" {step.entry['type']}" if isinstance(step, flow.Append) else ""))
        answer: flow.Answer = None
        if isinstance(step, flow.Append):
            answer = APPENDED
        elif isinstance(step, flow.Execute):
            answer = Execution(("name",), (("Ada",),))
        try:
            step = steps.send(answer)
        except StopIteration as stop:
            step, result = None, stop.value
    assert [o for o in order if o != "Notify"] == ["Append intent", "Execute", "Append outcome"]
    assert result is not None
    assert result.rows == (("Ada",),)


def test_nothing_executes_when_the_intent_cannot_be_written() -> None:
    steps, _ = start("SELECT name FROM customers")
    until(steps, flow.Append)
    with pytest.raises(LedgerError):
        steps.throw(LedgerError("ledger.unavailable", "disk full"))
    with pytest.raises(StopIteration):
        next(steps)


def test_rows_are_withheld_when_the_outcome_cannot_be_written() -> None:
    steps, _ = start("SELECT name FROM customers")
    until(steps, flow.Execute)
    step = steps.send(Execution(("name",), (("Ada",),)))
    while not isinstance(step, flow.Append):
        step = steps.send(None)
    with pytest.raises(LedgerError):
        steps.throw(LedgerError("ledger.unavailable", "disk full"))


def test_a_failure_is_recorded_then_raised() -> None:
    steps, _ = start("SELECT name FROM customers")
    until(steps, flow.Execute)
    step = steps.throw(EngineError("engine.timeout", "too slow"))
    assert isinstance(step, flow.Append)
    assert (step.entry["type"], step.entry["status"], step.entry["error"]) == ("outcome", "error", "engine.timeout")
    step = steps.send(APPENDED)
    with pytest.raises(EngineError):
        steps.send(None)


def test_an_interrupt_leaves_an_unknown_outcome() -> None:
    steps, _ = start("DELETE FROM orders WHERE id = 1")
    until(steps, flow.Execute)
    step = steps.throw(KeyboardInterrupt())
    assert isinstance(step, flow.Append)
    assert step.entry["status"] == "unknown"
    steps.send(APPENDED)
    with pytest.raises(KeyboardInterrupt):
        steps.send(None)


def test_an_approval_for_something_else_does_not_count() -> None:
    steps, _ = start("UPDATE orders SET status = 'x' WHERE id = 1")
    step = until(steps, flow.SeekApproval)
    assert isinstance(step, flow.SeekApproval)
    refusal = steps.send(ApprovalGrant("r", "f" * 64, "lea", "", 0))
    assert isinstance(refusal, flow.Append)
    assert refusal.entry["type"] == "refusal"
    assert isinstance(steps.send(APPENDED), flow.Notify)
    with pytest.raises(Denied) as caught:
        steps.send(None)
    assert caught.value.code == "approval.mismatch"
    assert caught.value.receipt is not None


def test_a_no_is_recorded_as_a_refusal_before_it_is_raised() -> None:
    steps, _ = start("UPDATE orders SET status = 'x' WHERE id = 1")
    until(steps, flow.SeekApproval)
    refusal = steps.throw(Denied("approval.denied", "The approver said no.", evidence={"by": "lea"}))
    assert isinstance(refusal, flow.Append)
    assert refusal.entry["decision"]["reasons"] == [{"code": "approval.denied", "rule": None}]  # type: ignore[index, call-overload]
    steps.send(APPENDED)
    with pytest.raises(Denied) as caught:
        steps.send(None)
    assert (caught.value.code, caught.value.evidence) == ("approval.denied", {"by": "lea"})


def test_the_approved_digest_depends_on_everything() -> None:
    _, judgement = start("UPDATE orders SET status = 'x' WHERE id = 1")
    _, other = start("UPDATE orders SET status = 'x' WHERE id = 2")
    context = Context(session_id="s")
    digests = {
        flow.approval_digest(judgement, ANA, context, {}),
        flow.approval_digest(other, ANA, context, {}),
        flow.approval_digest(judgement, Principal("bob"), context, {}),
        flow.approval_digest(judgement, ANA, Context(agent="other"), {}),
        flow.approval_digest(judgement, ANA, Context(purpose="support"), {}),
        flow.approval_digest(judgement, ANA, context, {"name": "production"}),
    }
    assert len(digests) == 6


def test_judging_is_pure() -> None:
    _, one = start("SELECT email FROM customers WHERE ssn = '1'")
    _, two = start("SELECT email FROM customers WHERE ssn = '1'")
    assert one == two


def test_entries_hold_no_literal() -> None:
    steps, _ = start("SELECT name FROM customers WHERE ssn = '123-45-6789' AND credit > 424242")
    step = until(steps, flow.Append)
    assert isinstance(step, flow.Append)
    assert "123-45" not in str(step.entry)
    assert "424242" not in str(step.entry)
    assert b"123-45" in step.private["sql"]
