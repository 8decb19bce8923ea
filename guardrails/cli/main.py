"""`guardrails`: the root of the command line. Commands are imported when they are called, so that the root starts at once.

Exit status of every command: 0 done, 1 refused or not verified, 2 usage, policy or schema error. Errors go to standard error as
one line with a stable code; a traceback is printed only when GUARDRAILS_DEBUG is 1.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from io import TextIOWrapper
from typing import NoReturn

import click

from guardrails.cli.lazy import Command, LazyGroup
from guardrails.errors import GuardrailsError, UsageError

__all__ = ["COMMANDS", "cli", "main"]

_FAILED_STATUS = 1
_USAGE_STATUS = 2
_INTERRUPTED_STATUS = 130


COMMANDS = {
    "agents": Command("guardrails.cli.agents:agents", "Make agents' keys, and check the proofs that agents gave."),
    "approvals": Command(
        "guardrails.cli.approvals:approvals", "List, approve and deny what waits for people; grants and reviews."
    ),
    "check": Command("guardrails.cli.check:check", "Decide about statements; run nothing, record nothing."),
    "console": Command(
        "guardrails.cli.console:console", "Serve the web console of a ledger: approvals, what agents do, what they did."
    ),
    "demo": Command("guardrails.cli.demo:demo", "Show agents at work on a guarded shop database."),
    "ledger": Command("guardrails.cli.ledger:ledger", "Verify, show, prove, publish and keep the signed ledger."),
    "mask-key": Command("guardrails.cli.mask_key:mask_key", "Show and rotate the keys behind tokens."),
    "mcp": Command("guardrails.cli.mcp:mcp", "Serve a guarded database to MCP clients."),
    "mcp-gateway": Command(
        "guardrails.cli.mcp_gateway:mcp_gateway",
        "Stand in front of other MCP servers: their tools as accepted, every call guarded and recorded.",
    ),
    "policy": Command(
        "guardrails.cli.policy:policy",
        "Validate policy files, set up in a database what it can hold of one, and prove that they hold.",
    ),
    "reveal": Command("guardrails.cli.reveal:reveal", "Resolve a token for a person whom the policy lets."),
    "run": Command("guardrails.cli.run:run", "Decide about statements, run what is allowed, record all of it."),
}
"""Every command of the root, by name."""


def _print_version(ctx: click.Context, _: click.Parameter, is_asked: bool) -> None:
    if is_asked and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"guardrails {version('guardrails-sql')}")
        ctx.exit()


@click.group(cls=LazyGroup, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print the version.")
def cli() -> None:
    """Guard the SQL that agents write: understand it, judge it, mask it, run it safely and sign it into a ledger."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the command line and exits.

    Args:
        arguments: Without the program's name; the process's own when None.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # A terminal that cannot show a character shows its escape; the command does not fail over it.
            stream.reconfigure(errors="backslashreplace")
    sys.exit(_status(arguments))


def _status(arguments: Sequence[str] | None) -> int:
    try:
        status = cli.main(arguments, prog_name="guardrails", standalone_mode=False)
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return _USAGE_STATUS
    except click.ClickException as error:
        return _fail("usage.input_invalid", error.format_message(), _way_out(error))
    except click.exceptions.Abort:
        return _interrupted()
    except GuardrailsError as error:
        _print_error(str(error))
        return _USAGE_STATUS
    except KeyboardInterrupt:
        return _interrupted()
    except BrokenPipeError:
        # Whoever read the output has enough; Python must not complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _FAILED_STATUS
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        return _fail("usage.file_missing", f"The system refused{where}: {error.strerror or type(error).__name__}.")
    except Exception as error:  # noqa: BLE001  the last resort: a command ends with a code, never with a traceback
        if os.environ.get("GUARDRAILS_DEBUG") == "1":
            traceback.print_exc()
        hint = "Please report it; GUARDRAILS_DEBUG=1 shows where it happened."
        return _fail("usage.bug", f"An unexpected {type(error).__name__}.", hint)


def _way_out(error: click.ClickException) -> str:
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f"See `{context.command_path} --help`." if context else ""


def _fail(code: str, message: str, hint: str = "") -> int:
    _print_error(str(UsageError(code, message, hint=hint)))
    return _USAGE_STATUS


def _interrupted() -> int:
    _print_error("interrupted")
    return _INTERRUPTED_STATUS


def _print_error(text: str) -> None:
    # Messages quote what was typed or read: no control sequence of theirs reaches the terminal, and one error is one line.
    click.echo("error: " + "".join(c if c.isprintable() else " " if c == "\n" else repr(c)[1:-1] for c in text), err=True)


if __name__ == "__main__":
    main()
