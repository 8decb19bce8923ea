"""What an upstream's answer is made of, as plain values that the second net looks through, and back into an answer for the client.

Only what is looked through is passed on: text, text of resources, structured content. `_meta` and annotations are left out; of binary
content only its kind and size are told, unless the configuration passes it on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from guardrails.errors import EngineError, UsageError
from guardrails.masking.scan import scan_rows
from guardrails.model import Value

try:
    from mcp_types import (
        CallToolResult,
        ContentBlock,
        EmbeddedResource,
        GetPromptResult,
        ReadResourceResult,
        ResourceLink,
        TextContent,
        TextResourceContents,
    )
except ModuleNotFoundError as missing:
    raise UsageError("usage.extra_missing", "An MCP gateway needs mcp.", hint="Install guardrails-sql[mcp].") from missing

__all__ = ["Binary", "ToolFailed", "contents_of", "plain_contents", "plain_prompt", "plain_result", "prompt_of", "result_of"]

Binary = dict[int, ContentBlock]
"""Content that nothing looks through, by its place in the answer."""


_ESCAPE = re.compile(r"(?<!\\)((?:\\\\)*)\\u([0-9a-fA-F]{4})")


class ToolFailed(EngineError):
    """The upstream's tool reported an error. What it said is part of the message where it may be told, after it was looked through."""

    def __init__(self, text: str) -> None:
        said = f" It said: {text}" if text else ""
        super().__init__("mcp.tool_failed", f"The upstream server's tool reported an error.{said}")


def plain_result(result: CallToolResult, *, binary: Binary | None, withholds_errors: bool, most_bytes: int) -> Value:
    """Returns what of a tool's answer may be passed on, as plain values.

    Args:
        result: From the upstream.
        binary: Gets binary content that is passed on; None: it is left out.
        withholds_errors: Whether the text of an error stays here: it may hold data, as a driver's does.
        most_bytes: Largest answer.

    Raises:
        ToolFailed: It is an error.
        EngineError: It is too large (``mcp.result_too_large``).
    """
    _require_size(result.model_dump_json(), most_bytes)
    if result.is_error:
        texts = (_readable(block.text) for block in result.content if isinstance(block, TextContent))
        raise ToolFailed("" if withholds_errors else _scanned("\n".join(texts)))
    content = []
    for place, block in enumerate(result.content):
        if binary is not None and not isinstance(block, (TextContent, EmbeddedResource, ResourceLink)):
            binary[place] = block
        content.append(_plain_block(block))
    plain: dict[str, Any] = {"content": content}
    if result.structured_content is not None:
        plain["structured"] = result.structured_content
    return cast(Value, plain)


def result_of(plain: Mapping[str, Any], binary: Binary) -> CallToolResult:
    """Returns the answer for the client, from what `plain_result` gave, after it was looked through, and the binary content."""
    content = [binary.get(place) or _block(fields) for place, fields in enumerate(plain["content"])]
    return CallToolResult(content=content, structured_content=plain.get("structured"))


def plain_contents(result: ReadResourceResult, *, most_bytes: int) -> Value:
    """Returns the text of a resource as plain values; of binary parts their size. Raises as `plain_result`."""
    _require_size(result.model_dump_json(), most_bytes)
    return [cast(Value, _plain_resource(contents)) for contents in result.contents]


def contents_of(plain: Sequence[Mapping[str, Any]]) -> ReadResourceResult:
    """Returns a resource for the client."""
    return ReadResourceResult(contents=[TextResourceContents.model_validate(fields) for fields in plain])


def plain_prompt(result: GetPromptResult, *, most_bytes: int) -> Value:
    """Returns the messages of a prompt as plain values. Raises as `plain_result`."""
    _require_size(result.model_dump_json(), most_bytes)
    return [{"role": message.role, "content": cast(Value, _plain_block(message.content))} for message in result.messages]


def prompt_of(plain: Sequence[Mapping[str, Any]]) -> GetPromptResult:
    """Returns a prompt for the client."""
    return GetPromptResult.model_validate({"messages": list(plain)})


def _plain_block(block: Any) -> dict[str, Any]:
    match block:
        case TextContent():
            return {"type": "text", "text": _readable(block.text)}
        case ResourceLink():
            return {"type": "resource_link", "uri": str(block.uri), "name": block.name}
        case EmbeddedResource():
            return {"type": "resource", "resource": _plain_resource(block.resource)}
    return {"type": "text", "text": f"[{block.type} left out, {len(block.model_dump_json())} characters]"}


def _plain_resource(contents: Any) -> dict[str, Any]:
    known = {"uri": str(contents.uri), **({"mimeType": contents.mime_type} if contents.mime_type else {})}
    if isinstance(contents, TextResourceContents):
        return {**known, "text": _readable(contents.text)}
    return {**known, "text": f"[binary content left out, {len(contents.model_dump_json())} characters]"}


def _block(fields: Mapping[str, Any]) -> ContentBlock:
    kinds: dict[str, type[TextContent] | type[EmbeddedResource] | type[ResourceLink]] = {
        "resource": EmbeddedResource,
        "resource_link": ResourceLink,
    }
    return kinds.get(fields["type"], TextContent).model_validate(dict(fields))


def _readable(text: str) -> str:
    """Text without JSON's escapes of characters that need none: behind them it could hide from the second net what it says."""
    return _ESCAPE.sub(_unescaped, text)


def _unescaped(found: re.Match[str]) -> str:
    character = chr(int(found[2], 16))
    is_needed = character in '"\\' or "\ud800" <= character <= "\udfff" or not character.isprintable()
    return found[0] if is_needed else found[1] + character


def _scanned(text: str) -> str:
    (row,), _ = scan_rows(("error",), ((text,),))
    return str(row[0])


def _require_size(text: str, most_bytes: int) -> None:
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > most_bytes:
        raise EngineError("mcp.result_too_large", f"The answer has {size:,} bytes; {most_bytes:,} are allowed.")
