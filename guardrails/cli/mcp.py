"""`guardrails mcp`: a ready MCP server over one guarded database, for a client that starts it, or over HTTP.

Exit status: 0 ended, 2 usage, identity, policy, schema or ledger error.
"""

from __future__ import annotations

import click

from guardrails.cli.mcp_options import ServingOptions, require_mcp, serving_options

__all__ = ["mcp"]


@click.command()
@serving_options
def mcp(serving: ServingOptions) -> None:
    """Serve a guarded database to MCP clients."""
    require_mcp()
    from guardrails.mcp_server import Calls, make_server, serve_stdio

    with serving.opened() as (guard, principal_of, settings):
        calls = Calls(guard, principal_of, settings)
        server = make_server(calls)

        def end() -> None:
            calls.close()
            guard.close()

        serving.serve(guard, server, lambda: serve_stdio(server, end))
