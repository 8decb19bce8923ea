"""One call of a client, through the guard to an upstream server: judged, recorded, carried out, looked through, recorded.

A tool with an argument that holds SQL has its statement judged against the guard's database and regenerated; what goes upstream is that
text. Every other tool, and reading resources and prompts, is an action of the policy's rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from guardrails.errors import Denied, UsageError
from guardrails.guard import Guard
from guardrails.integrations._mcp_asking import answer
from guardrails.integrations._toolbox import reply_text, sql_argument_of
from guardrails.mcp_gateway.canonical import canonical
from guardrails.mcp_gateway.offers import Offer
from guardrails.mcp_gateway.results import (
    Binary,
    contents_of,
    plain_contents,
    plain_prompt,
    plain_result,
    prompt_of,
    result_of,
)
from guardrails.mcp_gateway.upstream import Call, Upstream
from guardrails.model import Column, ColumnRef, Mask, Plan, Value
from guardrails.sql.inlining import inlined

try:
    from mcp_types import CallToolResult, GetPromptResult, ReadResourceResult
except ModuleNotFoundError as missing:
    raise UsageError("usage.extra_missing", "An MCP gateway needs mcp.", hint="Install guardrails-sql[mcp].") from missing

__all__ = ["call_tool", "get_prompt", "read_resource", "sql_argument"]


def sql_argument(offer: Offer) -> str | None:
    """Returns the argument of a tool that holds SQL, None when none does.

    Raises:
        UsageError: The configuration names one that the tool does not have (``usage.tool_unguardable``).
    """
    schema = offer.definition.body.get("inputSchema")
    properties = schema.get("properties", {}) if isinstance(schema, Mapping) else {}
    if offer.rule.sql is False:
        return None
    chosen = {offer.key.name: offer.rule.sql} if isinstance(offer.rule.sql, str) else None
    return sql_argument_of(offer.key.name, _nothing, list(properties), chosen)


async def call_tool(
    guard: Guard, upstream: Upstream, offer: Offer, arguments: Mapping[str, Any], call: Call, call_id: str | None
) -> CallToolResult:
    """Calls an accepted tool.

    Args:
        guard: With a session in force.
        upstream: Whose tool it is.
        offer: The tool.
        arguments: From the client.
        call: What goes with the request.
        call_id: The client's id of it.

    Raises:
        GuardrailsError: As `Guard.acall_action` and `Guard.arun_elsewhere`, and what the upstream makes of it.
    """
    argument = sql_argument(offer)
    if argument is not None:
        return await _run_sql(guard, upstream, offer, argument, arguments, call, call_id)
    binary: Binary | None = {} if offer.rule.binary == "pass" else None

    async def act(**given: Any) -> Value:
        result = await upstream.call(offer.key.name, given, call)
        withholds = offer.rule.errors == "withhold"
        most = guard.policy.limits.result_bytes
        return plain_result(result, binary=binary, withholds_errors=withholds, most_bytes=most)

    plain = await guard.acall_action(act, arguments, name=offer.action, tool_call_id=call_id)
    return result_of(cast("Mapping[str, Any]", plain), binary or {})


async def read_resource(guard: Guard, upstream: Upstream, uri: str, call: Call, call_id: str | None) -> ReadResourceResult:
    """Reads a resource, as the action ``<server>.resource.read`` with the argument `uri`. Raises as `call_tool`."""

    async def act(uri: str) -> Value:
        return plain_contents(await upstream.read(uri, call), most_bytes=guard.policy.limits.result_bytes)

    name = f"{upstream.name}.resource.read"
    plain = await guard.acall_action(act, {"uri": uri}, name=name, tool_call_id=call_id)
    return contents_of(cast("list[Mapping[str, Any]]", plain))


async def get_prompt(
    guard: Guard, upstream: Upstream, offer: Offer, arguments: Mapping[str, str], call: Call, call_id: str | None
) -> GetPromptResult:
    """Gets an accepted prompt, as the action ``<server>.prompt.<name>``. Raises as `call_tool`."""

    async def act(**given: str) -> Value:
        return plain_prompt(await upstream.prompt(offer.key.name, given, call), most_bytes=guard.policy.limits.result_bytes)

    plain = await guard.acall_action(act, arguments, name=offer.action, tool_call_id=call_id)
    return prompt_of(cast("list[Mapping[str, Any]]", plain))


async def _run_sql(
    guard: Guard,
    upstream: Upstream,
    offer: Offer,
    argument: str,
    arguments: Mapping[str, Any],
    call: Call,
    call_id: str | None,
) -> CallToolResult:
    sql, passed = _split(offer, argument, arguments)
    if offer.rule.run == "guard":
        return answer(reply_text(await guard.aexecute(sql, tool=offer.action, tool_call_id=call_id)))
    binary: Binary | None = {} if offer.rule.binary == "pass" else None

    async def run(plan: Plan) -> Value:
        seconds = min(call.seconds, plan.limits.seconds)
        limited = Call(seconds, call.progress, call.cancelled)
        result = await upstream.call(offer.key.name, {**passed, argument: inlined(plan)}, limited)
        withholds = offer.rule.errors != "scan"
        return plain_result(result, binary=binary, withholds_errors=withholds, most_bytes=plan.limits.result_bytes)

    # All of it is bound by an approval: a yes is for this tool as it was accepted, and for these arguments.
    place: dict[str, Any] = {"upstream": upstream.name, "tool": offer.key.name, "definition": offer.definition.digest}
    if passed:
        place["arguments"] = _token(guard, passed)
    plain = await guard.arun_elsewhere(sql, run, place=place, tool=offer.action, tool_call_id=call_id)
    return result_of(cast("Mapping[str, Any]", plain), binary or {})


def _split(offer: Offer, argument: str, arguments: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The statement, and the other arguments that are passed on."""
    sql = arguments.get(argument)
    if not isinstance(sql, str):
        raise UsageError("usage.input_invalid", f"The argument `{argument}` must be text that holds one SQL statement.")
    passed = {name: value for name, value in arguments.items() if name != argument}
    refused = sorted(name for name in passed if name not in offer.rule.arguments)
    if refused:
        raise Denied("mcp.argument_refused", f"The argument {refused[0][:80]!r} is not let through beside SQL.")
    return sql, passed


def _token(guard: Guard, passed: Mapping[str, Any]) -> str:
    """Stands for arguments in the ledger, which holds no values: equal for equal ones, and nobody guesses them without the mask key."""
    column = ColumnRef("mcp", "arguments")
    return str(guard.mask_value(Mask(column, "hash"), Column("arguments", "text"), canonical(passed).decode()))


def _nothing() -> None:
    """Stands for a tool that has a schema and no function here."""
