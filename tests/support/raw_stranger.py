"""A server of MCP 2025-11-25 on standard streams, written by hand so that it can misbehave: run as a program with its misdeeds as argument.

* {"dies_in": "send"}         the process ends when that tool is called
* {"silent": "send"}          no answer to that tool, ever
* {"busy": "send"}            nothing is looked at during a call of that tool, until the file `notes`.free is there
* {"twice": true}             each answer comes twice, the second time with other text
* {"late": true}              the answer to each call comes with that of the next one
* {"garbage": true}           lines that are no JSON, and answers to requests that nobody sent
* {"result": {…}}              the result of each call
* {"asks": "sampling/createMessage"}   a request of its own before each answer; the client's reply is written to `notes`
* {"notes": "path"}           what is called or cancelled is written there, one JSON a line
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

TOOLS = [
    {"name": name, "description": "Does it.", "inputSchema": {"type": "object", "properties": {argument: {"type": "string"}}}}
    for name, argument in (("send", "to"), ("query", "sql"), ("environment", "name"))
]


def main() -> None:
    """Serves until standard input ends."""
    does: dict[str, Any] = json.loads(sys.argv[1])
    kept: list[dict[str, Any]] = []
    for line in sys.stdin:
        message = json.loads(line)
        method, params = message.get("method"), message.get("params", {})
        if method == "initialize":
            result = {
                "protocolVersion": "2025-11-25",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "raw", "version": str(os.getpid())},
            }
            write({"id": message["id"], "result": result})
        elif method == "tools/list":
            write({"id": message["id"], "result": {"tools": TOOLS}})
        elif method == "tools/call":
            note(does, {"called": params["name"], "arguments": params["arguments"]})
            called(does, kept, message["id"], params["name"], params["arguments"])
        elif method == "notifications/cancelled":
            note(does, {"cancelled": params["requestId"]})
        elif "id" in message and method is None:
            note(does, {"reply": message.get("error", message.get("result"))})
        elif "id" in message:
            write({"id": message["id"], "error": {"code": -32601, "message": "No such method."}})


def called(does: dict[str, Any], kept: list[dict[str, Any]], id_: object, name: str, arguments: dict[str, Any]) -> None:
    if does.get("dies_in") == name:
        sys.exit(3)
    if does.get("silent") == name:
        return
    while does.get("busy") == name and not os.path.exists(does["notes"] + ".free"):
        time.sleep(0.01)
    if "asks" in does:
        write({"id": "mine", "method": does["asks"], "params": does.get("params", {})})
    text = os.environ.get(arguments.get("name", ""), "unset") if name == "environment" else f"{name} done"
    answer = {"id": id_, "result": {"content": [{"type": "text", "text": text}]}}
    if "result" in does:
        answer = {"id": id_, "result": does["result"]}
    if does.get("garbage"):
        sys.stdout.write("this is no JSON\n")
        write({"id": 987654, "result": {"content": [{"type": "text", "text": "nobody asked"}]}})
    if does.get("late"):
        kept.append(answer)
        if len(kept) < 2:
            return
        for late in kept:
            write(late)
        return
    write(answer)
    if does.get("twice"):
        write({"id": id_, "result": {"content": [{"type": "text", "text": "forged"}]}})


def write(message: dict[str, Any]) -> None:
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def note(does: dict[str, Any], what: dict[str, Any]) -> None:
    if "notes" in does:
        with open(does["notes"], "a", encoding="utf-8") as file:
            file.write(json.dumps(what) + "\n")


if __name__ == "__main__":
    main()
