"""What the parts of a policy say together: duplicates, misspelt actions, undeclared purposes, contradictions. No schema needed.

Nothing in a policy is ignored: what could have no effect, or the opposite of another part's, is an error at its place.
"""

from __future__ import annotations

import json
import re
import zoneinfo
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase

from guardrails.errors import PolicyError
from guardrails.masking import MASK_KINDS
from guardrails.policy.conditions import Condition, ConditionError
from guardrails.policy.document import Document, Path
from guardrails.policy.names import ascii_lower, is_column_form, is_glob, is_relation_form, may_mean, meant, split_column
from guardrails.policy.schema import (
    ACTION_WORDS,
    REVEAL,
    SQL_ACTIONS,
    ArgumentMask,
    ColumnRule,
    Exemption,
    PolicyFile,
    RowRule,
    Rule,
    ToolRule,
    minutes,
    sql_actions,
)

__all__ = ["check_policy", "compile_conditions", "principal_names"]

_PLACED = ("bucket", "date", "email", "hash", "partial", "pseudonym", "round")
"""Masks that depend on the stored value alone, and not on who asks."""
_TOOL = re.compile(r"[\w./:*-]+")
_LITERAL = re.compile(r"'(?:[^']|'')*'")
_PRINCIPAL = re.compile(r"\bprincipal\s*\.\s*([A-Za-z_]\w*)?(\s*\.)?", re.IGNORECASE | re.ASCII)


def check_policy(file: PolicyFile, document: Document) -> Iterator[PolicyError]:
    """Yields everything that is wrong with a policy whose single values are right."""
    yield from _duplicate_rules(file, document)
    for index, rule in enumerate(file.rules):
        path: Path = ("rules", index)
        yield from _actions(rule, path, document)
        yield from _scope(rule, path, document)
        yield from _approval(rule, path, document)
        yield from _purposes(rule.purposes, file, document, (*path, "purposes"))
    for name, column in file.columns.items():
        yield from _column(name, column, file, document)
    for name, row in file.rows.items():
        yield from _row(name, row, file, document)
    for name, tool in file.tools.items():
        yield from _tool(name, tool, file, document)
    for index, rate in enumerate(file.rates):
        for number, name in enumerate(rate.tools):
            yield from _tool_name(name, file, document, ("rates", index, "tools", number))
    yield from _twice(file.columns, "columns", document)
    yield from _twice(file.rows, "rows", document)


def compile_conditions(file: PolicyFile, document: Document) -> tuple[dict[str, Condition], list[PolicyError]]:
    """Returns the conditions by rule id, and what is wrong with the others."""
    conditions: dict[str, Condition] = {}
    problems: list[PolicyError] = []
    for index, rule in enumerate(file.rules):
        if rule.when is None:
            continue
        try:
            conditions[rule.id] = Condition(rule.when)
        except ConditionError as error:
            message = f"The condition of `{rule.id}` {error}."
            path = ("rules", index, "when")
            code = "policy.condition_invalid"
            problems.append(document.error_within(code, message, path, error.line, error.column, rule.when))
    return conditions, problems


def principal_names(predicate: str) -> frozenset[str]:
    """Returns the names after `principal.` in a row filter, outside text literals.

    Raises:
        ValueError: A name is missing or not plain, there is a comment, or a literal is not closed; the text says which.
    """
    text = _LITERAL.sub("''", predicate)
    if text.replace("''", "").count("'"):
        raise ValueError("has a text literal that is not closed")
    if "--" in text or "/*" in text:
        raise ValueError("has a comment")
    names: set[str] = set()
    for match in _PRINCIPAL.finditer(text):
        if match[1] is None or match[2]:
            raise ValueError("needs one plain name after `principal.`")
        names.add(match[1])
    return frozenset(names)


def _duplicate_rules(file: PolicyFile, document: Document) -> Iterator[PolicyError]:
    ids: dict[str, int] = {}
    scopes: dict[str, int] = {}
    for index, rule in enumerate(file.rules):
        if rule.id in ids:
            message = f"Two rules have the id `{rule.id}`{_line(document, ('rules', ids[rule.id], 'id'))}."
            yield document.error("policy.contradiction", message, ("rules", index, "id"), hint="Give each rule its own id.")
        ids.setdefault(rule.id, index)
        scope = _scope_key(rule)
        other = file.rules[scopes.setdefault(scope, index)]
        if other.effect != rule.effect:
            where = _line(document, ("rules", scopes[scope], "effect"))
            message = f"The rules `{other.id}`{where} and `{rule.id}` say {other.effect} and {rule.effect} of the same."
            yield document.error("policy.contradiction", message, ("rules", index, "effect"))


def _scope_key(rule: Rule) -> str:
    """What the rule is about, without its effect; the order in lists does not count."""
    known = sql_actions(rule.actions)
    who = rule.principals
    parts: list[object] = [
        sorted(known | {a for a in rule.actions if a not in ACTION_WORDS}),
        sorted({ascii_lower(r) for r in rule.relations}),
        sorted({ascii_lower(c) for c in rule.columns}),
        [sorted(set(names)) for names in (who.ids, who.groups, who.agents)] if who else [[], [], []],
        sorted(set(rule.purposes)),
        rule.when,
    ]
    return json.dumps(parts)


def _actions(rule: Rule, path: Path, document: Document) -> Iterator[PolicyError]:
    for number, action in enumerate(rule.actions):
        if action in ACTION_WORDS:
            continue
        place = (*path, "actions", number)
        # Near enough for a slip of the keys (`selct`), not for a tool's own name (`refund` beside `read`).
        near = meant(action, ACTION_WORDS, likeness=0.8)
        if action == "*":
            hint = "Write `all` for every SQL action, and name tools."
            yield document.error("policy.invalid", "`*` is not an action.", place, hint=hint)
        elif ascii_lower(action) in ACTION_WORDS or (near and not set(action) & set("._:/-")):
            hint = "A tool whose name looks like an SQL action needs a dot or an underscore in it."
            yield document.error("policy.invalid", f"Unknown action `{action}`.{near}", place, hint=hint)
        elif not _TOOL.fullmatch(action):
            yield document.error("policy.invalid", f"`{action}` is not the name of an action or a tool.", place)
        elif any(fnmatchcase(word, action) for word in SQL_ACTIONS):
            hint = "Write the SQL actions out."
            yield document.error("policy.invalid", f"`{action}` would mean SQL actions and tools.", place, hint=hint)


def _scope(rule: Rule, path: Path, document: Document) -> Iterator[PolicyError]:
    known = sql_actions(rule.actions)
    if known and not rule.relations and not rule.columns and rule.effect != "deny":
        hint = "Add `relations`; `*` alone is every relation."
        yield document.error("policy.invalid", f"The rule `{rule.id}` names no relations.", path, hint=hint)
    is_of_reveal = REVEAL in rule.actions and rule.effect != "allow"
    useless = {
        "relations": bool(rule.relations) and not (known or is_of_reveal),
        "columns": bool(rule.columns) and not (known or is_of_reveal),
        "where": rule.where == "optional" and (rule.effect == "deny" or not known & {"update", "delete"}),
        "approval": rule.approval is not None and rule.effect != "approve",
    }
    for key, is_useless in useless.items():
        if is_useless:
            message = f"`{key}` has no effect in the rule `{rule.id}`."
            hint = "Leave it out, or change the rule's effect or actions."
            yield document.error("policy.contradiction", message, (*path, key), of_key=True, hint=hint)
    for number, relation in enumerate(rule.relations):
        if not is_relation_form(relation):
            message = f"`{relation}` is not `relation` or `schema.relation`."
            yield document.error("policy.invalid", message, (*path, "relations", number))
    for number, column in enumerate(rule.columns):
        if not is_column_form(column):
            message = f"`{column}` is not `relation.column`."
            yield document.error("policy.invalid", message, (*path, "columns", number))
    who = rule.principals
    if who is None:
        return
    if not who.model_fields_set:
        yield document.error("policy.invalid", "`principals` names nobody.", (*path, "principals"))
    for key in ("ids", "groups", "agents"):
        yield from _no_globs(getattr(who, key), (*path, "principals", key), document)


def _approval(rule: Rule, path: Path, document: Document) -> Iterator[PolicyError]:
    """The terms of an approval: hours that exist, real values only where a SELECT of named columns waits."""
    terms, place = rule.approval, (*path, "approval")
    if terms is None:
        return
    if terms.unmask and (sql_actions(rule.actions) != {"select"} or not rule.columns):
        hint = "Give the rule `actions: [select]` and the `columns` whose real values an approved statement reads."
        yield document.error(
            "policy.contradiction", f"`unmask` has no effect in the rule `{rule.id}`.", (*place, "unmask"), hint=hint
        )
    if terms.hours:
        if minutes(terms.hours.begins) >= minutes(terms.hours.ends):
            hint = "Hours that go past midnight are two rules."
            yield document.error("policy.invalid", "`ends` is not later than `begins`.", (*place, "hours", "ends"), hint=hint)
        if not _is_zone(terms.hours.zone):
            message = f"There is no time zone `{terms.hours.zone}`."
            yield document.error("policy.invalid", message, (*place, "hours", "zone"), hint="Use a name such as Europe/Berlin.")
    yield from _no_globs(terms.groups, (*place, "groups"), document)
    if terms.break_glass:
        yield from _no_globs(terms.break_glass.groups, (*place, "break_glass", "groups"), document)


def _is_zone(name: str) -> bool:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _no_globs(names: tuple[str, ...], path: Path, document: Document) -> Iterator[PolicyError]:
    for number, name in enumerate(names):
        if "*" in name:
            hint = "Leave the list out for everybody, or use `when`."
            yield document.error(
                "policy.invalid", f"`{name}`: people, groups and agents are named in full.", (*path, number), hint=hint
            )


def _purposes(names: tuple[str, ...], file: PolicyFile, document: Document, path: Path) -> Iterator[PolicyError]:
    for number, name in enumerate(names):
        if name not in file.purposes:
            hint = "" if file.purposes else "Declare it in the section `purposes`, as `name: {description: …}`."
            message = f"The purpose `{name}` is not declared.{meant(name, file.purposes)}"
            yield document.error("policy.invalid", message, (*path, number), hint=hint)


def _exemption(found: Exemption | None, key: str, path: Path, file: PolicyFile, document: Document) -> Iterator[PolicyError]:
    if found is None:
        return
    if not found.model_fields_set or "*" in found.groups:
        message = f"`{path[-1]}` is protected and {'exempts' if key == 'except' else 'may be revealed to'} everybody."
        hint = "Name groups or purposes, or leave the entry out."
        yield document.error("policy.contradiction", message, (*path, key), hint=hint)
        return
    yield from _no_globs(found.groups, (*path, key, "groups"), document)
    yield from _purposes(found.purposes, file, document, (*path, key, "purposes"))


def _column(name: str, column: ColumnRule, file: PolicyFile, document: Document) -> Iterator[PolicyError]:
    path: Path = ("columns", name)
    if is_glob(name) or not is_column_form(name):
        yield document.error("policy.invalid", f"`{name}` is not `relation.column`, named in full.", path, of_key=True)
        return
    yield from _exemption(column.exemption, "except", path, file, document)
    yield from _exemption(column.reveal, "reveal", path, file, document)
    kind = MASK_KINDS.get(column.mask)
    taken = dict(kind.options) | dict.fromkeys(kind.common, "") if kind else {}
    if column.reveal is not None and not (kind and kind.is_token):
        message = f"What the mask `{column.mask}` gives cannot be resolved; `hash` and `pseudonym` can."
        yield document.error("policy.mask_invalid", message, (*path, "reveal"), of_key=True)
    if column.tokens is not None and not (kind and kind.is_token):
        message = f"What the mask `{column.mask}` gives cannot be resolved; `hash` and `pseudonym` can."
        yield document.error("policy.mask_invalid", message, (*path, "tokens"), of_key=True)
    if column.per in ("id", "groups"):
        message = f"`per` names an attribute of the principal, which `{column.per}` is not."
        yield document.error("policy.mask_invalid", message, (*path, "per"))
    given = dict(column.options())
    for option in given:
        if option not in taken:
            takes = f"it takes {', '.join(taken)}" if taken else "it takes none"
            message = f"The mask `{column.mask}` has no option `{option}`; {takes}."
            yield document.error("policy.mask_invalid", message, (*path, option), of_key=True)
    for option, default in taken.items():
        if default is None and option not in given:
            message = f"The mask `{column.mask}` needs the option `{option}`."
            yield document.error("policy.mask_invalid", message, (*path, "mask"))
    for key, is_useless in {
        "predicate": column.predicate != "masked" and column.mask == "deny",
        "min_group": column.min_group is not None and column.mask == "deny",
    }.items():
        if is_useless:
            hint = "Leave it out, or choose another mask."
            message = f"`{key}` has no effect beside the mask `deny`."
            yield document.error("policy.contradiction", message, (*path, key), of_key=True, hint=hint)
    if column.place == "column" and column.per is not None:
        message = "A generated column is the same for everybody, and `per` gives each their own tokens."
        yield document.error("policy.contradiction", message, (*path, "place"), of_key=True, hint="Leave one of the two out.")
    if column.place == "column" and column.mask not in _PLACED:
        message = f"The mask `{column.mask}` cannot be a generated column; {', '.join(_PLACED)} can."
        yield document.error("policy.mask_invalid", message, (*path, "place"), hint="Leave `place` out.")
    relation, _ = split_column(name)
    about = [rule for rule in file.rules if "select" in sql_actions(rule.actions) and _is_about(rule, relation)]
    refusing = [rule for rule in about if rule.effect == "deny" and _is_always(rule)]
    if refusing and len([r for r in about if r.effect == "deny"]) == len(about):
        message = f"`{name}` is masked, and the rule `{refusing[0].id}` refuses every read of `{relation}`."
        yield document.error("policy.contradiction", message, path, of_key=True, hint="Leave the mask or the rule out.")


def _is_about(rule: Rule, relation: str) -> bool:
    patterns = rule.relations or tuple(split_column(c)[0] for c in rule.columns)
    return not patterns or any(may_mean(p, relation) for p in patterns)


def _is_always(rule: Rule) -> bool:
    return not (rule.columns or rule.principals or rule.purposes or rule.when)


def _row(name: str, row: RowRule, file: PolicyFile, document: Document) -> Iterator[PolicyError]:
    path: Path = ("rows", name)
    if is_glob(name) or not is_relation_form(name):
        message = f"`{name}` is not a relation that is named in full."
        yield document.error("policy.invalid", message, path, of_key=True)
    yield from _exemption(row.exemption, "except", path, file, document)
    try:
        principal_names(row.predicate)
    except ValueError as error:
        place = (*path, "predicate") if (*path, "predicate") in document.values else path
        yield document.error("policy.row_filter_invalid", f"The row filter of `{name}` {error}.", place)


def _tool(name: str, tool: ToolRule, file: PolicyFile, document: Document) -> Iterator[PolicyError]:
    path: Path = ("tools", name)
    yield from _tool_name(name, file, document, path, of_key=True)
    if not tool.arguments and tool.seconds is None:
        yield document.error("policy.contradiction", f"Nothing is said of `{name}`.", path, of_key=True, hint="Leave it out.")
    for argument, treatment in tool.arguments.items():
        if not isinstance(treatment, ArgumentMask):
            continue
        taken, given = dict(MASK_KINDS[treatment.mask].options), dict(treatment.options())
        for option in given:
            if option not in taken:
                takes = f"it takes {', '.join(taken)}" if taken else "it takes none"
                message = f"The mask `{treatment.mask}` has no option `{option}`; {takes}."
                yield document.error("policy.mask_invalid", message, (*path, "arguments", argument, option), of_key=True)
        for option, default in taken.items():
            if default is None and option not in given:
                message = f"The mask `{treatment.mask}` needs the option `{option}`."
                yield document.error("policy.mask_invalid", message, (*path, "arguments", argument, "mask"))


def _tool_name(name: str, file: PolicyFile, document: Document, path: Path, *, of_key: bool = False) -> Iterator[PolicyError]:
    """A tool's name or glob; one that is nearly the name of a tool that a rule speaks of is a slip, and would hold for nothing."""
    if name in ACTION_WORDS or not _TOOL.fullmatch(name):
        yield document.error("policy.invalid", f"`{name}` is not the name of a tool.", path, of_key=of_key)
        return
    known = {action for rule in file.rules for action in rule.actions if action not in ACTION_WORDS}
    if not is_glob(name) and not any(fnmatchcase(name, action) for action in known):
        near = meant(name, {action for action in known if not is_glob(action)}, likeness=0.8)
        if near:
            message = f"No rule speaks of a tool `{name}`.{near}"
            yield document.error("policy.invalid", message, path, of_key=of_key, hint="Check the spelling.")


def _twice(section: Mapping[str, object], key: str, document: Document) -> Iterator[PolicyError]:
    seen: dict[str, str] = {}
    for name in section:
        other = seen.setdefault(ascii_lower(name), name)
        if other != name:
            message = f"`{name}` stands twice, also as `{other}`{_line(document, (key, other), of_key=True)}."
            yield document.error("policy.contradiction", message, (key, name), of_key=True)


def _line(document: Document, path: Path, *, of_key: bool = False) -> str:
    line = document.place(path, of_key=of_key).line
    return f" (line {line})" if line else ""
