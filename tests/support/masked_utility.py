"""Whether ordinary SELECTs still run when columns are masked: what the engine accepts without the guard, held against what runs masked.

A statement counts where the engine runs it as it is. It passes when the guard allows it under a policy that masks columns of its tables, and
the engine runs what the guard made of it and gives the result the same columns. What the rows show is another question (`twins`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, get_args

from guardrails.errors import PolicyError
from guardrails.flow import judge
from guardrails.masking import check_mask
from guardrails.masking.types import Family, column_type
from guardrails.model import Catalog, Column, ColumnRef, Context, Mask, Principal, Statement
from guardrails.policy import BoundPolicy, Policy
from tests.support.corpus import PROTECTED
from tests.support.twins import Answer, Database
from tests.support.utility import Outcome

__all__ = ["PROTECTED_BY", "STYLES", "Style", "examine_masked", "masking_policy"]

Style = Literal["constant", "kept", "keyed"]
"""Masks that keep nothing, masks that keep a part of the value, and masks that keep which values are equal."""
STYLES: tuple[Style, ...] = get_args(Style)

PROTECTED_BY: Mapping[str, Mapping[str, Sequence[str]]] = {
    "corpus": PROTECTED,
    "grammar": {
        "customers": ("name", "email", "credit", "born", "joined", "profile"),
        "orders": ("amount", "paid_at", "customer_id", "detail"),
        "employees": ("name", "salary", "hired"),
        "events": ("payload", "customer_id"),
        "sales.targets": ("goal", "note"),
    },
    "tpc-h": {
        "customer": ("c_custkey", "c_name", "c_address", "c_phone", "c_acctbal"),
        "orders": ("o_custkey", "o_clerk"),
        "supplier": ("s_name", "s_address", "s_phone", "s_acctbal"),
    },
    "tpc-ds": {
        "customer": (
            "c_customer_sk", "c_first_name", "c_last_name", "c_email_address", "c_login", "c_birth_day", "c_birth_month", "c_birth_year",
        ),
        "customer_address": ("ca_street_number", "ca_street_name", "ca_zip", "ca_city"),
        "customer_demographics": ("cd_purchase_estimate", "cd_credit_rating"),
        "store_sales": ("ss_customer_sk", "ss_net_profit"),
        "store_returns": ("sr_customer_sk",),
        "catalog_sales": ("cs_bill_customer_sk", "cs_ship_customer_sk"),
        "catalog_returns": ("cr_returning_customer_sk", "cr_refunded_customer_sk"),
        "web_sales": ("ws_bill_customer_sk", "ws_ship_customer_sk"),
        "web_returns": ("wr_returning_customer_sk", "wr_refunded_customer_sk"),
    },
    "analytics": {
        "accounts": ("id", "name", "mrr"),
        "users": ("account_id", "email", "signed_up", "last_seen", "settings"),
        "subscriptions": ("account_id", "amount"),
        "invoices": ("account_id", "amount", "paid_on"),
        "tickets": ("account_id", "subject", "satisfaction"),
        "employees": ("name", "salary", "hired_on"),
    },
}  # fmt: skip
"""By corpus: what a policy would protect there, keys that tables are joined on among it."""

_KEPT: Mapping[Family, dict[str, object]] = {
    "text": {"mask": "partial", "first": 1, "last": 2},
    "integer": {"mask": "bucket", "size": 10},
    "numeric": {"mask": "round", "digits": 0},
    "float": {"mask": "bucket", "size": 10},
    "date": {"mask": "date", "to": "month"},
    "timestamp": {"mask": "date", "to": "day"},
    "timestamptz": {"mask": "date", "to": "day"},
}
_KEYED: Mapping[Family, dict[str, object]] = {
    "text": {"mask": "pseudonym"},
    "integer": {"mask": "noise", "spread": 5},
    "numeric": {"mask": "noise", "spread": 10},
    "date": {"mask": "shift", "days": 30},
    "timestamp": {"mask": "shift", "days": 30},
    "timestamptz": {"mask": "shift", "days": 30},
}
_FULL: dict[str, object] = {"mask": "full"}
_NULL: dict[str, object] = {"mask": "null"}
_JSON: dict[str, object] = {"mask": "fixed", "value": "{}"}
_JSON_TEXTS = ("settings", "profile", "detail", "payload")
"""Columns of text or of JSON that statements read as JSON."""
_KEY_ENDINGS = ("id", "key", "_sk")


def masking_policy(catalog: Catalog, corpus: str, style: Style) -> BoundPolicy:
    """Returns a policy that allows every SELECT and masks what `PROTECTED_BY` names, as the style has it for each type."""
    columns: dict[str, dict[str, object]] = {}
    for key, names in PROTECTED_BY[corpus].items():
        relation = next(
            (r for k, r in catalog.relations.items() if k == key or f"{r.schema}.{r.name}".endswith(f"sales.{key[6:]}")), None
        )
        for column in relation.columns if relation is not None else ():
            if column.name in names:
                found = catalog.key(relation.schema, relation.name) if relation is not None else key
                columns[f"{found}.{column.name}"] = _mask(catalog, ColumnRef(found, column.name), column, style)
    rules = [{"id": "read", "effect": "allow", "actions": ["select"], "relations": ["*"]}]
    limits = {"rows": 100_000, "seconds": 60}
    return Policy(rules=rules, columns=columns, limits=limits).bind(catalog)


def _mask(catalog: Catalog, ref: ColumnRef, column: Column, style: Style) -> dict[str, object]:
    family = column_type(column, catalog.dialect).family
    if column.name in _JSON_TEXTS:
        return _JSON
    if style == "constant":
        # A zero in the place of an amount would make quotients fail.
        return _NULL if family == "numeric" else _FULL
    if style == "keyed" and family == "integer" and column.name.endswith(_KEY_ENDINGS):
        return {"mask": "pseudonym"}
    chosen = {"kept": _KEPT, "keyed": _KEYED}[style].get(family, _FULL)
    if style == "kept" and "email" in column.name:
        chosen = {"mask": "email"}
    options = tuple((name, value) for name, value in chosen.items() if name != "mask" and isinstance(value, (str, int)))
    try:
        check_mask(Mask(ref, str(chosen["mask"]), options), column, catalog.dialect)
    except PolicyError:
        return _FULL
    return chosen


def examine_masked(database: Database, named: Sequence[tuple[str, Sequence[str]]], policy: BoundPolicy) -> Iterator[Outcome]:
    """Yields an outcome for every statement that the engine runs as it is, in one of its spellings."""
    for name, spellings in named:
        for sql in spellings:
            asked = database.raw(sql)
            if asked[0] != "error":
                yield _held(database, policy, name, sql, asked)
                break


def _held(database: Database, policy: BoundPolicy, name: str, sql: str, asked: Answer) -> Outcome:
    statement = Statement(sql, {}, database.engine.dialect)
    judgement = judge(statement, database.catalog(), policy, Principal("ana"), Context(), database.mask)
    if judgement.plan is None:
        reasons = judgement.decision.reasons
        is_plain_refused = database.guarded(sql)[0] == "refused"
        detail = f"{reasons[0].message if reasons else ''}{' Also without masks.' if is_plain_refused else ''}"
        return Outcome(name, sql, judgement.decision.code, detail)
    answered = database.run(judgement.plan)
    if answered[:2] == ("error", "engine.timeout"):
        return Outcome(name, sql, "late")
    if answered[0] == "error":
        return Outcome(name, sql, str(answered[1]), f"{answered[2]} {judgement.plan.sql}")
    if answered[0] != "truncated" and answered[0] != asked[0]:
        return Outcome(name, sql, "labels", f"{asked[0]} became {answered[0]}")
    return Outcome(name, sql, "ok")
