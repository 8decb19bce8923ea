"""The page about the gateway: its Python and its configuration run against a real server, and its tables name what there is."""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
from pathlib import Path

import pytest
from mcp.client.client import Client

import tests.support.raw_stranger
from guardrails.cli.mcp_gateway import mcp_gateway
from guardrails.codes import CODES
from guardrails.mcp_gateway import GatewayConfig, ToolRule, UpstreamConfig
from guardrails.mcp_gateway.config import GatewayConfig as Config
from tests.support.schema import make_sqlite_shop
from tests.support.story import POLICY
from tests.support.strangers import accept_waiting

PAGE = (Path(__file__).parents[2] / "docs" / "mcp-gateway.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


async def test_the_pages_python_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_sqlite_shop(tmp_path / "shop.db")
    (tmp_path / "policy.yaml").write_text(POLICY)
    shop = {"command": sys.executable, "args": ["-S", str(tests.support.raw_stranger.__file__), "{}"], "protocol": "legacy"}
    (tmp_path / "gateway.yaml").write_text(json.dumps({"version": 1, "upstreams": {"shop": shop}}))
    await accept_waiting("gateway.yaml", "gateway.lock.json", "sqlite:///audit.db")
    (code,) = blocks("python")
    code = code.replace("read_query", "query").replace('"query": "', '"sql": "')
    done = eval(compile(code, "mcp-gateway.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), {"Client": Client})
    assert inspect.isawaitable(done)
    await done
    first, second = capsys.readouterr().out.splitlines()
    assert first == "query done"
    assert second.startswith("Refused (policy.no_rule)")


def test_the_pages_configuration_is_one() -> None:
    (text,) = blocks("yaml")
    config = GatewayConfig.from_text(text)
    assert list(config.upstreams) == ["shop", "mail"]


def test_the_tables_name_every_key() -> None:
    for model in (ToolRule, UpstreamConfig):
        for key in model.model_fields:
            assert re.search(rf"^\| .*`{key}`", PAGE, re.MULTILINE), key
    for key in Config.model_fields:
        assert key in PAGE


def test_the_page_names_every_command_and_code() -> None:
    for command in mcp_gateway.commands:
        assert f"guardrails mcp-gateway {command} " in PAGE
    told = set(re.findall(r"`(mcp\.[a-z_]+)`", PAGE))
    assert told >= {code for code in CODES if code.startswith("mcp.")} - {"mcp.config_invalid", "mcp.lock_invalid"}
