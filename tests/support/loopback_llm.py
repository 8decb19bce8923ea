"""A LlamaIndex LLM on the newest OpenAI client, for which LlamaIndex's own package is too old: chat completions with tools, streamed too."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
)
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.tools import BaseTool
from openai import AsyncOpenAI, OpenAI

__all__ = ["LoopbackLLM"]


class LoopbackLLM(FunctionCallingLLM):
    """Speaks to a model server at `url`."""

    url: str
    is_function_calling: bool = True

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(is_chat_model=True, is_function_calling_model=self.is_function_calling, model_name="m")

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        client = OpenAI(base_url=self.url, api_key="k")
        answer = client.chat.completions.create(**_request(messages, kwargs))
        return _response(answer.choices[0].message)

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        async with AsyncOpenAI(base_url=self.url, api_key="k") as client:
            answer = await client.chat.completions.create(**_request(messages, kwargs))
        return _response(answer.choices[0].message)

    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        async def stream() -> ChatResponseAsyncGen:
            async with AsyncOpenAI(base_url=self.url, api_key="k") as client:
                async with client.chat.completions.stream(**_request(messages, kwargs)) as events:
                    async for event in events:
                        if event.type == "content.delta":
                            yield ChatResponse(
                                message=ChatMessage(event.snapshot, role=MessageRole.ASSISTANT), delta=event.delta
                            )
                    final = await events.get_final_completion()
                yield _response(final.choices[0].message)

        return stream()

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        calls = response.message.additional_kwargs.get("tool_calls", [])
        return [
            ToolSelection(tool_id=c["id"], tool_name=c["function"]["name"], tool_kwargs=json.loads(c["function"]["arguments"]))
            for c in calls
        ]

    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        asked = ChatMessage(user_msg, role=MessageRole.USER) if isinstance(user_msg, str) else user_msg
        messages = [*(chat_history or []), *([asked] if asked is not None else [])]
        return {"messages": messages, "tools": [tool.metadata.to_openai_tool() for tool in tools]}

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        raise NotImplementedError

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        raise NotImplementedError

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        raise NotImplementedError

    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        raise NotImplementedError

    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseAsyncGen:
        raise NotImplementedError


def _request(messages: Sequence[ChatMessage], kwargs: dict[str, Any]) -> dict[str, Any]:
    tools = {"tools": kwargs["tools"]} if kwargs.get("tools") else {}
    return {"model": "m", "messages": [_message(m) for m in messages], **tools}


def _message(message: ChatMessage) -> dict[str, Any]:
    told = {key: message.additional_kwargs[key] for key in ("tool_calls", "tool_call_id") if key in message.additional_kwargs}
    return {"role": message.role.value, "content": message.content or "", **told}


def _response(message: Any) -> ChatResponse:
    calls = [call.model_dump(include={"id", "type", "function"}) for call in message.tool_calls or []]
    for call in calls:
        call["function"] = {key: call["function"][key] for key in ("name", "arguments")}
    told = {"tool_calls": calls} if calls else {}
    return ChatResponse(message=ChatMessage(message.content or "", role=MessageRole.ASSISTANT, additional_kwargs=told))
