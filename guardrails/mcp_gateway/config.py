"""The gateway's configuration: which servers stand behind it, which arguments of their tools hold SQL, and what is passed on.

YAML as a policy's, every mistake an error with its line and column. Secrets do not stand in it: ``${NAME}`` in a value of `env` or
`headers` is the variable of that name in the gateway's own environment, and no other variable is handed on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError, model_validator

from guardrails.errors import PolicyError, UsageError
from guardrails.policy.document import Document, read_document
from guardrails.policy.explain import explain
from guardrails.policy.load import read_policy_text
from guardrails.tools import params_argument_among, usual_sql_names

__all__ = ["GatewayConfig", "ToolRule", "UpstreamConfig", "resolved"]

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SECRET_HEADER = re.compile(r"auth|cookie|key|token|secret|password", re.IGNORECASE)
_NAME = r"^[A-Za-z0-9_-]{1,40}$"
_TOOL_NAME = r"^[A-Za-z0-9_.-]{1,128}$"

Text = Annotated[str, Strict(), Field(max_length=4000)]
Names = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=200)], ...], Field(max_length=1000)]
Flag = Annotated[bool, Strict()]
Seconds = Annotated[float, Strict(), Field(ge=0, le=3600, allow_inf_nan=False)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ToolRule(_Model):
    """What is known about one tool of an upstream server, beyond what the server tells."""

    sql: Annotated[str, Field(min_length=1, max_length=200)] | Literal[False] | None = None
    """The argument that holds SQL; `false`: none does. When not given, it is found by its usual names (`sql`, `query`, …)."""
    run: Literal["upstream", "guard"] = "upstream"
    """Who runs a statement: the upstream server, or the guard on its own database, so that the tool itself is never called."""
    arguments: Names = ()
    """Arguments beside the SQL that are passed on; an approval binds their values. Others are refused, and so are parameters of the
    statement, which would be put in after it was judged."""
    errors: Literal["withhold", "scan"] | None = None
    """What becomes of the text of an error: `withhold`, the default where there is SQL, or `scan`, the default elsewhere."""
    binary: Literal["refuse", "pass"] = "refuse"
    """Whether images, audio and other binary content, which nothing looks through, are passed on."""
    name: Annotated[str, Field(pattern=_TOOL_NAME)] | None = None
    """The name under which the tool is listed."""

    @model_validator(mode="after")
    def _passes_on_no_sql(self) -> Self:
        if params := params_argument_among(self.arguments):
            raise ValueError(f"passes on {params}: the guard writes values into the statement, and others must not follow")
        if names := usual_sql_names(self.arguments):
            raise ValueError(f"passes on {names[0]}, which may be SQL that nobody has judged")
        return self


class UpstreamConfig(_Model):
    """One server behind the gateway: a command that speaks on its standard streams, or a URL of streamable HTTP."""

    command: Annotated[str, Field(min_length=1)] | None = None
    """The program to start."""
    args: tuple[Text, ...] = ()
    """Its arguments."""
    env: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], Text] = {}
    """Its environment; beside it only what every program needs (`PATH`, `HOME`, …) is handed on."""
    cwd: Annotated[str, Field(min_length=1)] | None = None
    """The folder that it starts in."""
    log: Flag = False
    """Whether what it writes to its standard error goes to the gateway's; it may hold data."""
    url: Annotated[str, Field(pattern=r"^https?://\S+$")] | None = None
    """Where it is."""
    headers: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")], Text] = {}
    """HTTP headers; those that carry secrets must refer to the environment."""
    protocol: Literal["auto", "legacy"] = "auto"
    """`legacy` goes without asking whether it speaks the revision of 2026."""
    tools: dict[str, ToolRule] = {}
    """What is known about its tools, by their names there."""
    only: Names = ()
    """The tools that may be used, with globs; every accepted one when not given."""
    hide: Names = ()
    """Tools that may not be used, with globs."""
    resources: Names = ()
    """URIs of resources that may be read, with globs; none when not given."""
    prompts: Names = ()
    """Prompts that may be used, with globs; none when not given."""
    seconds: Annotated[Seconds, Field(gt=0)] = 60
    """How long an answer may take; where there is SQL, no longer than the policy's limit."""

    @model_validator(mode="after")
    def _has_one_way_in(self) -> Self:
        if (self.command is None) == (self.url is None):
            raise ValueError("needs either `command` or `url`")
        if self.command is None and (self.args or self.env or self.cwd or self.log):
            raise ValueError("has `args`, `env`, `cwd` or `log`, which go with `command`")
        if self.url is None and self.headers:
            raise ValueError("has `headers`, which go with `url`")
        for name, value in self.headers.items():
            if _SECRET_HEADER.search(name) and not _REFERENCE.search(value):
                raise ValueError(f"has a secret in the header {name}; refer to the environment with ${{NAME}}")
        if self.headers and urlsplit(self.url or "").scheme == "http" and not _is_loopback(self.url or ""):
            raise ValueError("sends its headers in clear: the URL has to be https, or on this machine")
        return self


class GatewayConfig(_Model):
    """The servers behind a gateway."""

    model_config = ConfigDict(title="guardrails mcp-gateway")

    version: Literal[1]
    """The version of this form."""
    upstreams: Annotated[dict[Annotated[str, Field(pattern=_NAME)], UpstreamConfig], Field(min_length=1, max_length=100)]
    """The servers by name. The policy's rules name a tool `<server>.<tool>`."""
    prefix: Flag | None = None
    """Whether tools are listed as `<server>_<tool>`; when not given, they are where there are several servers."""
    recheck: Seconds = 5
    """After how many seconds a call has the definitions listed again first; a server that tells of changes is asked at once."""

    @property
    def is_prefixed(self) -> bool:
        """Whether names of tools get their server's name in front."""
        return self.prefix if self.prefix is not None else len(self.upstreams) > 1

    @classmethod
    def load(cls, path: str | Path) -> GatewayConfig:
        """Reads a configuration file.

        Raises:
            UsageError: It cannot be read (``usage.file_missing``) or is not valid (``mcp.config_invalid``): the message has line and
                column, the evidence lists what else is wrong.
        """
        try:
            return cls.from_text(read_policy_text(path), source=str(path))
        except PolicyError as problem:
            raise _invalid([problem]) from None

    @classmethod
    def from_text(cls, text: str, source: str = "gateway") -> GatewayConfig:
        """Parses and validates the text of a configuration; `source` names it in errors. Raises as `load`."""
        document = Document()
        try:
            document = read_document(text, source)
            return cls.model_validate(document.data)
        except PolicyError as problem:
            raise _invalid([problem]) from None
        except ValidationError as error:
            raise _invalid(list(explain(error, document, cls.model_json_schema))) from None


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def resolved(value: str, environment: Mapping[str, str]) -> str:
    """Returns a value with its ``${NAME}`` replaced by the environment's.

    Raises:
        UsageError: A variable is not set (``mcp.config_invalid``).
    """

    def replaced(found: re.Match[str]) -> str:
        if found[1] not in environment:
            raise UsageError("mcp.config_invalid", f"The environment variable {found[1]} is not set.", hint="Set it.")
        return environment[found[1]]

    return _REFERENCE.sub(replaced, value)


def _invalid(problems: list[PolicyError]) -> UsageError:
    told: list[dict[str, Any]] = [
        {"message": p.message.replace("The policy", "The configuration"), "line": p.line, "column": p.column}
        for p in sorted(problems, key=lambda p: (p.line, p.column))
    ]
    first = told[0]
    place = f"{problems[0].source}:{first['line']}:{first['column']}: "
    return UsageError("mcp.config_invalid", place + str(first["message"]), evidence={"problems": told})
