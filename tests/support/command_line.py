"""The command line, called in this process: the same entry point, without the seconds that starting a process takes."""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import Any, NamedTuple

import pytest

from guardrails.cli.main import main

__all__ = ["Done", "call"]


class Done(NamedTuple):
    """How a command ended and what it wrote."""

    status: int
    stdout: bytes
    stderr: bytes

    def lines(self) -> list[dict[str, Any]]:
        """The JSON objects of standard output, one a line."""
        return [json.loads(line) for line in self.stdout.splitlines()]


def call(*arguments: str, stdin: bytes = b"") -> Done:
    """Runs `guardrails` with these arguments; a traceback on standard error fails the test."""
    out, error = io.BytesIO(), io.BytesIO()
    streams = io.TextIOWrapper(out, "utf-8"), io.TextIOWrapper(error, "utf-8")
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(streams[0]), redirect_stderr(streams[1]):
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            main(arguments)
    for stream in streams:
        stream.flush()
    assert isinstance(ended.value.code, int)
    assert b"Traceback" not in error.getvalue()
    return Done(ended.value.code, out.getvalue(), error.getvalue())
