"""The catalogue of error and reason codes: what each means and the way out.

A code is part of the contract: it may be added, never change its meaning. Refusals are written for a model that repairs its query,
so each hint says what to change. `docs/errors.md` is generated from this table and a test holds the two equal.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["CODES", "Code"]


class Code(NamedTuple):
    """One row of the catalogue: a title for people and a hint that says how to go on."""

    title: str
    hint: str


_USAGE = {
    "usage.file_missing": Code("A named file does not exist or cannot be read", "Check the path."),
    "usage.dialect_unknown": Code("The dialect is not supported", "See `guardrails check --help` for the known ones."),
    "usage.no_session": Code("No session is active", "Call inside `with guard.session(principal=…, agent=…):`."),
    "usage.database_unsupported": Code(
        "The database URL is not supported", "Use a sqlite:///, postgresql://, mysql:// or duckdb:/// URL."
    ),
    "usage.database_unreachable": Code("The database cannot be opened", "Check the URL and that the server answers."),
    "usage.input_invalid": Code("The input is not of the expected form", "See the message for what is expected."),
    "usage.answer_cut": Code(
        "The model's answer ended before its calls were complete, so none of them ran",
        "Make the calls again, in a shorter answer.",
    ),
    "usage.no_schema": Code("No schema is known", "Give --schema FILE or --database URL."),
    "usage.extra_missing": Code("An optional package is not installed", "Install the extra that the message names."),
    "usage.other_session": Code(
        "The transaction belongs to another session", "Commit or roll back first, or use a connection for each session."
    ),
    "usage.other_database": Code(
        "The URL or engine is of another database than the guard's", "Open a guard of its own for that database."
    ),
    "usage.no_rollback": Code(
        "What was written is committed already and cannot be taken back",
        "This database commits each change by itself; undo it with a change of its own.",
    ),
    "usage.not_guarded": Code(
        "A guarded connection does not offer this, since it would pass the guard by",
        "Use execute with one statement at a time.",
    ),
    "usage.connections_in_use": Code(
        "Connections of the engine are in use, which would stay unguarded", "Close them, or install the guard at start-up."
    ),
    "usage.signer_unknown": Code("The signer's URI is not understood", "See docs/keys.md for the known forms."),
    "usage.scratch_refused": Code(
        "No scratch database could be made", "Use a login that may create databases, or name another server with --scratch."
    ),
    "usage.nothing_proven": Code(
        "There is nothing to prove, or nothing could be tried",
        "Check the policy, the principal and what the rules let them read.",
    ),
    "usage.tool_unguardable": Code("The function cannot be guarded", "Give it a parameter named `sql`, or name it."),
    "usage.bug": Code("The library met a state it does not know", "Please report it with the diagnostics."),
}

_SQL = {
    "sql.empty": Code("There is no statement", "Send one SQL statement."),
    "sql.too_large": Code("The statement is larger than the limit", "Send a shorter statement."),
    "sql.too_deep": Code("The statement is nested too deeply", "Use fewer nested parentheses, subqueries or terms."),
    "sql.encoding": Code("The text has characters that are not accepted", "Send valid UTF-8 without control characters."),
    "sql.syntax": Code("The statement does not parse", "Check the syntax for this dialect."),
    "sql.multiple_statements": Code("More than one statement", "Send one statement at a time, without ';' between."),
    "sql.statement_unsupported": Code("This kind of statement is never run", "Use SELECT, INSERT, UPDATE or DELETE."),
    "sql.construct_unsupported": Code("A construct is not on the list of understood ones", "Rewrite without it."),
    "sql.function_not_allowed": Code("A function is not on the list of safe ones", "Use a standard built-in instead."),
    "sql.relation_unknown": Code("A relation is not known here", "Use only relations that you may see."),
    "sql.column_unknown": Code("A column is not known here", "Check the column names of the relations in FROM."),
    "sql.column_ambiguous": Code("A column name fits several relations", "Qualify the column with its relation's alias."),
    "sql.roundtrip": Code("The statement does not survive regeneration", "Rewrite it in plainer SQL."),
    "sql.parsers_disagree": Code("The engine's own parser reads it otherwise", "Write it in a plainer form."),
    "sql.view_opaque": Code("A view's definition is not understood", "Query its base relations instead."),
    "sql.effects_unknown": Code("It would set off code whose effects are not known", "Leave the relation or the column out."),
    "sql.params_mismatch": Code("Parameters and placeholders differ", "Give one value for each placeholder."),
}

_POLICY = {
    "policy.no_rule": Code("No rule allows this", "Ask only for what your task needs, or ask for access."),
    "policy.denied": Code("A rule forbids this", "Leave out what the rule forbids."),
    "policy.where_required": Code("A change without WHERE", "Add a WHERE clause that names the rows to change."),
    "policy.purpose_required": Code("The declared purpose does not cover this", "Only tasks with that purpose may do it."),
    "policy.column_denied": Code("A column may not be used", "Leave the column out."),
    "policy.probe_budget": Code(
        "The session has asked its questions about protected values", "Go on without conditions on the protected column."
    ),
    "policy.rewrite_needed": Code(
        "The statement would have to be rewritten, which the tool does not allow",
        "Send the statement as the message gives it, or leave the protected columns and relations out.",
    ),
    "policy.condition_error": Code("A rule's condition failed", "An administrator must mend the policy."),
    "policy.obligation": Code("An obligation cannot be fulfilled", "An administrator must complete the policy."),
    "policy.syntax": Code("The policy file is not valid YAML", "See line and column."),
    "policy.invalid": Code("The policy file does not fit its schema", "See line and column."),
    "policy.unknown_key": Code("The policy has an unknown key", "Check the spelling."),
    "policy.unknown_relation": Code("The policy names an unknown relation or column", "Check the spelling."),
    "policy.purpose_unknown": Code("The purpose is not declared in the policy", "Use a purpose that the policy declares."),
    "policy.contradiction": Code("Two parts of the policy contradict each other", "Keep one of them."),
    "policy.condition_invalid": Code("A condition is not valid CEL", "See https://cel.dev for the language."),
    "policy.mask_invalid": Code("A mask does not fit its column", "Choose another mask, its options or the column."),
    "policy.row_filter_invalid": Code("A row filter is not a plain predicate", "Use columns, principal.* and literals."),
}

_MASK = {
    "mask.write_reads_protected": Code(
        "A change would read a protected column", "Leave protected columns out of the change's expressions."
    ),
    "mask.write_protected": Code("A change would write a protected column", "Leave the protected column out."),
    "mask.write_masked": Code(
        "A change would store a masked value in a protected column", "Write the real value, or leave the column out."
    ),
    "mask.write_tells": Code(
        "A change would tell by failing of a protected value or a hidden row",
        "Leave out the columns that a key or a constraint ties to what is protected.",
    ),
    "mask.write_unprotects": Code(
        "A change would store a protected value where it is not protected",
        "Store it only in a column with the same mask, or leave the protected column out.",
    ),
    "mask.group_unsupported": Code(
        "An aggregate could tell of single protected values", "Aggregate the bare column over its relation alone."
    ),
    "mask.reveal_denied": Code(
        "The policy does not let this principal have the token resolved",
        "Go on with the token; it compares as the value would.",
    ),
    "mask.token_unknown": Code(
        "The token stands for no value that this principal may see, or for several", "Check token and column."
    ),
    "mask.unsupported": Code("A masked relation is used where it cannot be masked", "Query the relation plainly."),
}

_APPROVAL = {
    "approval.required": Code("A person has to approve this first", "Wait for the approval, then run the same again."),
    "approval.denied": Code("The approver said no", "Do not retry; choose another way."),
    "approval.expired": Code("The approval has expired", "Ask again."),
    "approval.self": Code("Requesters cannot approve their own request", "Somebody else must decide."),
    "approval.not_approver": Code("This person may not approve the request", "Ask a member of the approver groups."),
    "approval.unknown": Code("There is no such request", "Check the request's id."),
    "approval.closed": Code("The request is already decided or used", "Ask again with a new request."),
    "approval.mismatch": Code("The approval is for something else", "Run exactly what was approved."),
    "approval.reason_required": Code("A reason has to be given with the approval", "Say why, in a sentence."),
    "approval.outside_hours": Code("A yes does not count at this time", "Answer within the hours that the message names."),
    "approval.voted": Code("This person has said yes already", "Somebody else has to say yes as well."),
    "approval.forged": Code("The yes is not in the ledger as it should be", "Ask again; an administrator must look into it."),
    "approval.break_glass": Code(
        "This person may not go ahead without an approval here", "Wait for the approval, or close the review that is overdue."
    ),
    "approval.window": Code(
        "The policy lets no grant be given ahead like this", "Ask for a shorter time, or one statement at a time."
    ),
    "approval.channel_down": Code("No approver could be reached", "Try again later."),
}

_PREVIEW = {
    "preview.unsupported": Code("No examples can be shown of this", "Judge by the statement and the rows counted."),
    "preview.hidden": Code("The viewer may see no column of the rows", "Judge by the statement and the rows counted."),
    "preview.conditions_masked": Code(
        "Which rows would change depends on values that are masked for the viewer", "Somebody who may see them can look."
    ),
}

_IDENTITY = {
    "identity.token_invalid": Code("The token is not valid", "Sign in again."),
    "identity.token_expired": Code("The token has expired", "Sign in again."),
    "identity.key_unknown": Code("The token's key is not known", "Check issuer and JWKS."),
    "identity.claims_invalid": Code("The token lacks what a principal needs", "Check audience, issuer and claims."),
    "identity.principal_invalid": Code("The principal is not valid", "Give a non-empty id."),
    "identity.sign_in_required": Code("Nobody is signed in to the console", "Sign in."),
    "identity.role_missing": Code("The groups of this person do not give the role", "Ask who runs the console for the role."),
    "identity.link_invalid": Code("The link to sign in with is not good, or no longer", "Ask for a new link, or begin again."),
    "identity.form_forged": Code(
        "A form was not sent by a page of this console", "Load the page again and send it from there."
    ),
    "identity.too_many_tries": Code("There were too many tries to sign in", "Wait a minute."),
    "identity.delegation_invalid": Code("The token does not say properly who acts for whom", "Check the `act` claim."),
    "identity.delegation_mismatch": Code(
        "The token names another agent than the session", "Use the token that was given to this agent."
    ),
    "identity.principal_mismatch": Code(
        "The framework's context names another person than the session", "Run one person's calls inside that person's session."
    ),
    "identity.agent_unproven": Code(
        "The agent has not shown that it is the one that it says", "Give the session the agent's key."
    ),
    "identity.agent_key_invalid": Code("The agent's key cannot be used", "See the message for what is wrong with it."),
    "identity.header_missing": Code("The trusted proxy's header is missing", "Send the request through the proxy."),
    "identity.header_invalid": Code("The trusted proxy's header is not valid", "Check the proxy's configuration."),
    "identity.sign_in_failed": Code("Nobody was signed in", "Sign in again."),
    "identity.provider_failed": Code("The identity provider cannot be used", "Check the issuer's URL and that it answers."),
}

_ENGINE = {
    "engine.failed": Code("The database could not run the statement", "Check types, casts and values, then try again."),
    "engine.timeout": Code("The statement took too long", "Narrow it: add a WHERE clause or aggregate less."),
    "engine.cancelled": Code("The caller cancelled the statement", "Run it again if it is still wanted."),
    "engine.refused": Code("The engine's own lock refused the statement", "Rewrite it; only the allowed effects may happen."),
    "engine.too_many_rows_changed": Code("More rows would change than allowed", "Narrow the WHERE clause."),
    "engine.row_too_large": Code("A value is larger than the limit", "Select fewer or smaller columns."),
    "engine.schema_changed": Code("The schema changed meanwhile", "Run the statement again."),
    "engine.unknown_outcome": Code("It is not known whether the statement ran", "Check the data before trying again."),
}

_LIMIT = {
    "limit.rate": Code("The principal has called the tool too often", "Try again later."),
    "limit.uncounted": Code("The calls of a tool cannot be counted", "Nothing ran; an administrator must look into it."),
    "limit.rows": Code("A tool returned more rows than allowed", "Ask for fewer: add a LIMIT, or a narrower condition."),
    "limit.bytes": Code("A tool returned more bytes than allowed", "Ask for less: fewer rows, or fewer columns."),
}

_INSTALL = {
    "install.unsupported": Code(
        "This database cannot hold row filters", "Nothing has to be set up: the guard fences them in each statement."
    ),
    "install.refused": Code("The database refused to set up the policy", "Use a role that may create views over the tables."),
}

_LEDGER = {
    "ledger.unavailable": Code("The ledger cannot be opened or written", "Without a ledger nothing runs; mend it first."),
    "ledger.connection_lost": Code("The connection to the ledger's database was lost", "Nothing was stored: try again."),
    "ledger.commit_unknown": Code(
        "It is not known whether the ledger's database stored a batch",
        "Look for the entry by its id before appending it again.",
    ),
    "ledger.entry_invalid": Code("An entry is outside the canonical profile", "ASCII keys, integers to 2^53, below 64 KiB."),
    "ledger.key_missing": Code("The log's signing key is missing", "Restore the key that opened this ledger."),
    "ledger.signer_failed": Code(
        "The signing key's keeper gave no signature", "See the evidence; nothing was signed, so it can be tried again."
    ),
    "ledger.key_history": Code(
        "An entry about keys is not endorsed as it must be", "Sign it with the key that is current in the log before it."
    ),
    "ledger.index_range": Code("There is no entry with this index", "Use an index below the tree size."),
    "ledger.archive_open": Code("Entries cannot be archived yet", "See which intent waits; nothing was moved."),
    "ledger.archived": Code("The entry was moved to an archive", "Read it from the archive; proofs are still here."),
    "ledger.tampered": Code("The ledger was changed", "Keep the file as evidence and restore from a trusted copy."),
    "ledger.proof_invalid": Code("A Merkle proof does not hold", "Treat the log as not trustworthy."),
    "ledger.note_invalid": Code("A signed note is malformed or not signed by a trusted key", "Check the verifier key."),
    "ledger.quorum_missing": Code(
        "Too few witnesses cosigned a checkpoint", "See what each witness answered; the checkpoint does not count as published."
    ),
    "ledger.witness_policy": Code("The policy of logs and witnesses is malformed", "See c2sp.org/tlog-policy for its form."),
    "ledger.tile_invalid": Code("A tile, an entry bundle or its path is malformed", "See the message for what is expected."),
    "ledger.incomplete": Code(
        "A file that a signed checkpoint requires is not there", "Try again; where it stays away, do not trust the log."
    ),
    "ledger.inconsistent": Code(
        "Two signed checkpoints of one log contradict each other", "Keep both as evidence: the log was forked or rolled back."
    ),
    "ledger.clock_backwards": Code("The clock went backwards", "Mend the machine's clock."),
}

_MCP = {
    "mcp.tool_unknown": Code("No tool of this name has been accepted", "Use a tool that is listed, or have this one accepted."),
    "mcp.tool_changed": Code(
        "The tool's definition is not the one that was accepted",
        "Go on without it until somebody has accepted the new definition.",
    ),
    "mcp.argument_refused": Code(
        "The tool takes SQL, and this argument beside it is not let through", "Leave the argument out."
    ),
    "mcp.tool_failed": Code("The upstream server's tool reported an error", "Check the arguments, then try again."),
    "mcp.upstream_failed": Code("The upstream server gave no usable answer", "Try again later, or go on without the tool."),
    "mcp.upstream_down": Code("The upstream server cannot be reached", "Nothing was done: try again later."),
    "mcp.upstream_asks": Code(
        "The upstream server asked for something that it may not have", "Go on without the tool: it wants input of its own."
    ),
    "mcp.result_too_large": Code("The result is larger than the limit", "Ask for less: fewer rows, or fewer columns."),
    "mcp.config_invalid": Code("The gateway's configuration is not valid", "See line and column, and docs/mcp-gateway.md."),
    "mcp.lock_invalid": Code("The lock file of accepted definitions is not valid", "Restore it, or remove it and accept anew."),
}

CODES: dict[str, Code] = (
    _USAGE | _SQL | _POLICY | _MASK | _APPROVAL | _PREVIEW | _IDENTITY | _ENGINE | _LIMIT | _INSTALL | _LEDGER | _MCP
)
"""Every code that the library raises or returns, with its title and hint."""
