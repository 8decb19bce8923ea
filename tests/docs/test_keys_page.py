"""The examples of docs/keys.md run, one after another in one namespace."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from guardrails.ledger.signers import SCHEMES
from guardrails.ledger.signers.passphrases import PASSPHRASE_VARIABLE, PIN_VARIABLE
from guardrails.ledger.signers.pkcs11_uri import MODULE_VARIABLE

PAGE = (Path(__file__).parents[2] / "docs" / "keys.md").read_text("utf-8")


def test_the_examples_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "set by the first example")
    namespace: dict[str, object] = {}
    examples = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(examples) == 4
    for example in examples:
        exec(example, namespace)


def test_every_scheme_and_variable_is_on_the_page() -> None:
    for word in (*(f"`{scheme}:" for scheme in SCHEMES), PASSPHRASE_VARIABLE, PIN_VARIABLE, MODULE_VARIABLE):
        assert word in PAGE
