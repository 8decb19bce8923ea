"""What a ledger's tables in PostgreSQL look like, and how anything else in their place is noticed.

The catalog is described in words and compared with the words below, so that a trigger, a rule, a view in a table's place or a
changed column is found before anything is read through it. The tables are made by the revisions in `guardrails.ledger.migrations`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from guardrails.errors import LedgerError, TamperedError

__all__ = ["REVISIONS", "damage", "differences", "has_tables"]

Run: TypeAlias = Callable[..., list[tuple[Any, ...]]]
"""Runs a statement with ``{s}`` for the schema and returns its rows."""

REVISIONS = ("0001",)
"""Revisions of the tables, oldest first; the last one is this release's."""

_RELATIONS = """
    SELECT 'relation ' || c.relname || ' ' || c.relkind::text || ' ' || c.relpersistence::text
        || CASE WHEN c.relhasrules THEN ' rules' ELSE '' END || CASE WHEN c.relrowsecurity THEN ' policies' ELSE '' END
        || CASE WHEN c.relispartition OR EXISTS (SELECT FROM pg_inherits WHERE c.oid IN (inhrelid, inhparent))
            THEN ' inheritance' ELSE '' END
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %s AND c.relkind NOT IN ('i', 't')
"""
_COLUMNS = """
    SELECT 'column ' || c.relname || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
        || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END || CASE WHEN o.collname <> 'default' THEN ' ' || o.collname ELSE '' END
        || CASE WHEN a.atthasdef OR a.attidentity <> '' OR a.attgenerated <> '' THEN ' computed' ELSE '' END
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_collation o ON o.oid = a.attcollation
    WHERE n.nspname = %s AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
"""
_CONSTRAINTS = """
    SELECT 'constraint ' || c.relname || ' ' || pg_get_constraintdef(k.oid) || CASE WHEN k.convalidated THEN '' ELSE ' unvalidated' END
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %s AND k.contype <> 'n'
"""
_INDEXES = """
    SELECT 'index ' || c.relname || ' USING ' || split_part(pg_get_indexdef(i.indexrelid), ' USING ', 2)
        || CASE WHEN i.indisunique THEN ' unique' ELSE '' END || CASE WHEN i.indisvalid THEN '' ELSE ' invalid' END
    FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %s AND c.relkind = 'r'
"""
_TRIGGERS = """
    SELECT 'trigger ' || c.relname || ' ' || t.tgname
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %s
"""
_DESCRIPTION = " UNION ALL ".join((_RELATIONS, _COLUMNS, _CONSTRAINTS, _INDEXES, _TRIGGERS))

_EXPECTED = frozenset(
    """
column alembic_version.version_num character varying(32) not null
column archived_sessions.next_seq bigint not null
column archived_sessions.session bytea not null
column entries.idx bigint not null
column entries.leaf bytea not null
column entries.seq bigint not null
column entries.session bytea not null
column head.archived bigint not null
column head.frontier bytea not null
column head.id smallint not null
column head.note text not null
column head.published text not null
column head.size bigint not null
column head.time_us bigint not null
column head.verifier_key text not null
column open_intents.entry_id text not null C
column open_intents.idx bigint not null
column open_intents.is_unknown boolean not null
column secret_subjects.idx bigint not null
column secret_subjects.name text not null C
column secret_subjects.subject bytea not null
column secrets.idx bigint not null
column secrets.name text not null C
column secrets.salt bytea not null
column secrets.sealed bytea
column tiles.hashes bytea not null
column tiles.idx bigint not null
column tiles.level integer not null
column tiles.root bytea not null
constraint alembic_version PRIMARY KEY (version_num)
constraint archived_sessions CHECK ((next_seq > 0))
constraint archived_sessions CHECK ((octet_length(session) = 32))
constraint archived_sessions PRIMARY KEY (session)
constraint entries CHECK ((idx >= 0))
constraint entries CHECK ((octet_length(leaf) < 65536))
constraint entries CHECK ((seq >= 0))
constraint entries PRIMARY KEY (idx)
constraint head CHECK (((archived >= 0) AND (archived <= size) AND (mod(archived, (256)::bigint) = 0)))
constraint head CHECK ((id = 1))
constraint head CHECK ((mod(octet_length(frontier), 32) = 0))
constraint head CHECK ((size >= 0))
constraint head CHECK ((time_us >= 0))
constraint head PRIMARY KEY (id)
constraint open_intents CHECK ((idx >= 0))
constraint open_intents PRIMARY KEY (entry_id)
constraint secret_subjects CHECK ((octet_length(subject) = 32))
constraint secret_subjects PRIMARY KEY (idx, name, subject)
constraint secrets CHECK ((idx >= 0))
constraint secrets CHECK ((octet_length(salt) = 32))
constraint secrets PRIMARY KEY (idx, name)
constraint tiles CHECK ((idx >= 0))
constraint tiles CHECK ((level >= 0))
constraint tiles CHECK ((octet_length(hashes) = 8192))
constraint tiles CHECK ((octet_length(root) = 32))
constraint tiles PRIMARY KEY (level, idx)
index alembic_version USING btree (version_num) unique
index archived_sessions USING btree (session) unique
index entries USING btree (idx) unique
index entries USING btree (sha256(session), seq) unique
index head USING btree (id) unique
index open_intents USING btree (entry_id) unique
index secret_subjects USING btree (idx, name, subject) unique
index secret_subjects USING btree (subject, idx, name)
index secrets USING btree (idx, name) unique
index tiles USING btree (level, idx) unique
relation alembic_version r p
relation archived_sessions r p
relation entries r p
relation head r p
relation open_intents r p
relation secret_subjects r p
relation secrets r p
relation tiles r p
""".strip().splitlines()
)

_NAMES = "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND relkind <> 't'"

_COUNTS = """
    SELECT h.size, h.archived,
        (SELECT count(*) FROM {s}.entries WHERE idx >= h.archived), (SELECT count(*) FROM {s}.entries WHERE idx >= h.size),
        (SELECT count(DISTINCT session) FROM {s}.entries WHERE idx < h.archived),
        (SELECT count(*) FROM {s}.open_intents WHERE idx >= h.size), (SELECT count(*) FROM {s}.secrets WHERE idx >= h.size),
        (SELECT count(*) FROM {s}.secret_subjects t
            WHERE NOT EXISTS (SELECT FROM {s}.secrets s WHERE s.idx = t.idx AND s.name = t.name))
    FROM {s}.head h
"""
_TILES = "SELECT level, count(*), min(idx), max(idx) FROM {s}.tiles GROUP BY level ORDER BY level"
_TILE_HEIGHT = 8


def has_tables(run: Run, schema: str) -> bool:
    """Tells whether the ledger's tables are there.

    Raises:
        LedgerError: Something else is, or tables of another release (ledger.unavailable).
        TamperedError: They are not as the ledger made them.
    """
    relations = {row[0] for row in run(_NAMES, (schema,))}
    if not relations:
        return False
    if "alembic_version" not in relations:
        raise LedgerError("ledger.unavailable", "The schema holds something other than a ledger.", evidence={"schema": schema})
    found = [row[0] for row in run("SELECT version_num FROM {s}.alembic_version")]
    if found != [REVISIONS[-1]]:
        is_older = len(found) == 1 and found[0] in REVISIONS
        raise LedgerError(
            "ledger.unavailable",
            f"The ledger's tables are of an {'older' if is_older else 'unknown'} version.",
            hint="Run `guardrails ledger migrate` as their owner." if is_older else "Use the release that made them.",
            evidence={"found": found, "needed": REVISIONS[-1]},
        )
    if differing := differences(run, schema):
        raise TamperedError("ledger.tampered", "The ledger's tables were changed.", evidence={"differences": differing})
    return True


def differences(run: Run, schema: str) -> list[str]:
    """Returns what the catalog says of the schema and should not, or should and does not."""
    found = {row[0] for row in run(_DESCRIPTION, (schema,) * 5)}
    return sorted(f"unexpected: {line}" for line in found - _EXPECTED) + sorted(
        f"missing: {line}" for line in _EXPECTED - found
    )


def damage(run: Run, schema: str) -> list[str]:
    """Returns what contradicts itself in the tables' shape and numbers; the columns' types and lengths are PostgreSQL's to keep."""
    found = differences(run, schema)
    if found:
        return found
    rows = run(_COUNTS)
    if len(rows) != 1:
        return ["there is no head"]
    size, archived, entries, late, kept, intents, secrets, marks = rows[0]
    expected_entries = size - archived
    claims = {
        f"the table entries has {entries} rows after the archived ones, not {expected_entries}": entries != expected_entries,
        f"the table entries has {late} rows beyond the end": bool(late),
        f"the table entries has rows of {kept} sessions that were archived": kept > 1,
        "the table open_intents names entries beyond the end": bool(intents),
        "the table secrets names entries beyond the end": bool(secrets),
        "the table secret_subjects names secrets that are not there": bool(marks),
    }
    found += [claim for claim, holds in claims.items() if holds]
    tiles = {level: (count, first, last) for level, count, first, last in run(_TILES)}
    level = 0
    while size >> (_TILE_HEIGHT * (level + 1)) or level in tiles:
        expected = size >> (_TILE_HEIGHT * (level + 1))
        count, first, last = tiles.pop(level, (0, 0, -1))
        if (count, first, last) != (expected, 0, expected - 1):
            found.append(f"level {level} has {count} tiles from {first} to {last}, not {expected} from 0 on")
        level += 1
    return found + [f"there are tiles of level {level}" for level in sorted(tiles)]
