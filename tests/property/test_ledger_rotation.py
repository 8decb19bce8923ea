"""No key comes into a log's history, and none stays in it, against the word of the key that was current then."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrails.errors import LedgerError
from guardrails.ledger.cosignature import Cosigner
from guardrails.ledger.entry import decode, encode
from guardrails.ledger.keys import Ed25519Signer
from guardrails.ledger.note import ED25519, Verifier, base64_text, key_hash
from guardrails.ledger.rotation import KeyHistory, retirement_entry, revocation_entry, rotation_entry

NAME = "example.com/log"
KEYS = [Ed25519Signer(NAME, bytes([number]) * 32) for number in range(5)]
INDEX_OF = {signer.verifier(): number for number, signer in enumerate(KEYS)}
Entry = dict[str, object]


def _rotate(old: int, new: int) -> Entry:
    return rotation_entry(KEYS[old], KEYS[new], reason="test")


@dataclass
class Model:
    """The rules, said once more: current key, and for each key its first, last and revoked size."""

    current: int = 0
    first: dict[int, int] = field(default_factory=lambda: {0: 0})
    last: dict[int, int] = field(default_factory=dict)
    revoked: dict[int, int] = field(default_factory=dict)

    def take(self, index: int, command: tuple[str, int, int, int]) -> bool:
        kind, actor, key, size = command
        if actor != self.current or key == actor:
            return False
        if kind == "rotate":
            if key in self.first:
                return False
            self.current, self.first[key] = key, index + 1
        elif kind == "retire":
            if key in self.last or key in self.revoked:
                return False
            self.last[key] = index
            self.first.setdefault(key, index + 1)
        else:
            if not 1 <= size <= index + 1 or self.revoked.get(key, size + 1) <= size:
                return False
            self.revoked[key] = size
            self.first.setdefault(key, index + 1)
        return True

    def valid_for(self, size: int) -> set[int]:
        never = 10**9
        return {
            key
            for key, first in self.first.items()
            if first <= size <= self.last.get(key, never) and size < self.revoked.get(key, never)
        }


COMMANDS = st.tuples(st.sampled_from(["rotate", "retire", "revoke"]), st.integers(0, 4), st.integers(0, 4), st.integers(0, 14))


@given(st.lists(COMMANDS, max_size=12))
@settings(max_examples=250, deadline=None)
def test_signed_entries_do_what_the_rules_say_and_nothing_else(commands: list[tuple[str, int, int, int]]) -> None:
    history, model = KeyHistory.trusting(KEYS[0].verifier()), Model()
    for index, command in enumerate(commands):
        kind, actor, key, size = command
        if kind == "rotate":
            if actor == key:
                continue
            entry = _rotate(actor, key)
        elif kind == "retire":
            entry = retirement_entry(KEYS[actor], KEYS[key].verifier(), reason="test")
        else:
            entry = revocation_entry(KEYS[actor], KEYS[key].verifier(), from_size=size, reason="test")
        if model.take(index, command):
            history = history.after(index, entry)
        else:
            with pytest.raises(LedgerError) as caught:
                history.after(index, entry)
            assert caught.value.code == "ledger.key_history"
            history = history.after(index, {"type": "other"})
        assert INDEX_OF[history.current] == model.current
        for tree_size in range(16):
            assert {INDEX_OF[verifier] for verifier in history.valid_for(tree_size)} == model.valid_for(tree_size)


HONEST: list[tuple[int, Entry]] = [
    (3, _rotate(0, 1)),
    (5, retirement_entry(KEYS[1], KEYS[0].verifier(), reason="overlap is over")),
    (9, _rotate(1, 2)),
    (10, revocation_entry(KEYS[2], KEYS[1].verifier(), from_size=8, reason="leaked")),
]


def test_an_honest_history_is_followed() -> None:
    history = KeyHistory.fold(KEYS[0].verifier(), HONEST)
    expected = {0: [0], 3: [0], 4: [0, 1], 5: [0, 1], 6: [1], 7: [1], 8: [], 9: [], 10: [2], 100: [2]}
    assert {size: [INDEX_OF[v] for v in history.valid_for(size)] for size in expected} == expected


def test_entries_survive_the_ledgers_form() -> None:
    for _, entry in HONEST:
        assert decode(encode(entry)) == entry


def test_a_reader_who_trusts_a_later_key_ends_with_the_same_keys() -> None:
    later = KeyHistory.fold(KEYS[2].verifier(), HONEST, first_index=10)
    assert later.current == KEYS[2].verifier()
    assert [INDEX_OF[v] for v in later.valid_for(11)] == [2]
    with pytest.raises(LedgerError, match="had before"):
        later.after(11, _rotate(2, 1))


# Smuggling. The adversary holds key 3, which is in no honest history, and keys 0 and 1, which retired or leaked.

EVIL = KEYS[3]


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_changed_entry_brings_no_key_in(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(HONEST) - 1))
    index, entry = HONEST[place]
    changed = json.loads(json.dumps(entry))
    path = data.draw(st.sampled_from(list(_paths(changed))))
    change = data.draw(st.sampled_from(CHANGES))
    _set(changed, path, change(_get(changed, path), data))
    if changed == entry:
        return
    entries = [*HONEST[:place], (index, changed), *HONEST[place + 1 :]]
    honest = KeyHistory.fold(KEYS[0].verifier(), HONEST)
    try:
        history = KeyHistory.fold(KEYS[0].verifier(), entries)
    except LedgerError:
        return
    # Only what no signature covers may differ: the reason, or an entry that no longer is about keys.
    assert path in (("reason",), ("type",))
    for size in range(20):
        assert {INDEX_OF[v] for v in history.valid_for(size)} <= {0, 1, 2}
    if path == ("reason",):
        assert history == honest


def _flip(value: object, data: st.DataObject) -> object:
    if not isinstance(value, str) or not value:
        return None
    at = data.draw(st.integers(0, len(value) - 1))
    return value[:at] + data.draw(st.characters(codec="ascii")) + value[at + 1 :]


CHANGES: list[Callable[[object, st.DataObject], object]] = [
    _flip,
    lambda value, data: None,
    lambda value, data: str(EVIL.verifier()),
    lambda value, data: str(KEYS[data.draw(st.integers(0, 2))].verifier()),
    lambda value, data: base64_text(EVIL.sign(b"any")),
    lambda value, data: base64_text(KEYS[0].sign(b"any")),
    lambda value, data: data.draw(st.integers(-1, 20) | st.booleans() | st.text(max_size=3)),
    lambda value, data: f"{value}\n",
    lambda value, data: data.draw(st.sampled_from(["key.rotate", "key.retire", "key.revoke", "key.bind"])),
]


def _paths(entry: Entry) -> list[tuple[str, ...]]:
    nested = entry.get("endorsements")
    inner = [("endorsements", key) for key in nested] if isinstance(nested, dict) else []
    return [(key,) for key in entry] + inner


def _get(entry: Entry, path: tuple[str, ...]) -> object:
    value: object = entry
    for key in path:
        value = value[key]  # type: ignore[index]
    return value


def _set(entry: Entry, path: tuple[str, ...], value: object) -> None:
    target = entry if len(path) == 1 else entry[path[0]]
    target[path[-1]] = value  # type: ignore[index]


@given(st.permutations(HONEST) | st.lists(st.sampled_from(HONEST), max_size=6))
def test_honest_entries_in_another_order_left_out_or_replayed_bring_nothing_new(entries: list[tuple[int, Entry]]) -> None:
    try:
        history = KeyHistory.fold(KEYS[0].verifier(), enumerate(entry for _, entry in entries))
    except LedgerError:
        return
    keys = [INDEX_OF[period.verifier] for period in history.periods]
    assert keys == [0, 1, 2][: len(keys)]


def _evil_entries() -> dict[str, Entry]:
    evil, current = EVIL.verifier(), KEYS[2].verifier()
    forged = rotation_entry(EVIL, KEYS[4], reason="x")["endorsements"]
    honest = _rotate(1, 2)["endorsements"]
    assert isinstance(forged, dict)
    assert isinstance(honest, dict)
    rotation = {"type": "key.rotate", "old": str(current), "new": str(evil), "reason": "x"}
    text = f"guardrails ledger key rotation v1\n{NAME}\n{current}\n{evil}\n".encode()
    by_evil, by_old = base64_text(EVIL.sign(text)), base64_text(KEYS[1].sign(text))
    identity = bytes([1]) + bytes(31)
    weak = f"{NAME}+{key_hash(NAME, identity).hex()}+{base64_text(ED25519 + identity)}"
    return {
        "the stranger endorses himself": rotation | {"endorsements": {"old": by_evil, "new": by_evil}},
        "the leaked key endorses the stranger": rotation | {"endorsements": {"old": by_old, "new": by_evil}},
        "endorsements of another rotation": rotation | {"endorsements": honest},
        "only the new key endorses": rotation | {"endorsements": {"new": by_evil}},
        "no endorsements": rotation,
        "endorsements are a list": rotation | {"endorsements": [by_old, by_evil]},
        "a rotation from the leaked key": rotation_entry(KEYS[1], EVIL, reason="x"),
        "a rotation from the retired key": rotation_entry(KEYS[0], EVIL, reason="x"),
        "a rotation from a key that never was": rotation_entry(EVIL, KEYS[4], reason="x"),
        "back to the retired key": _rotate(2, 0),
        "back to the leaked key": _rotate(2, 1),
        "a replay": HONEST[2][1],
        "the leaked key revokes the current one": revocation_entry(KEYS[1], current, from_size=1, reason="x"),
        "the leaked key retires the current one": retirement_entry(KEYS[1], current, reason="x"),
        "the stranger revokes the current one": revocation_entry(EVIL, current, from_size=1, reason="x"),
        "the current key revokes itself": revocation_entry(KEYS[2], current, from_size=1, reason="x"),
        "the leak begins later than first said": revocation_entry(KEYS[2], KEYS[1].verifier(), from_size=10, reason="x"),
        "a revocation of what is to come": revocation_entry(KEYS[2], KEYS[1].verifier(), from_size=99, reason="x"),
        "a key that anybody can sign for": rotation | {"new": weak, "endorsements": honest},
        "a key that is no key": rotation | {"new": "nonsense", "endorsements": honest},
    }


@pytest.mark.parametrize("what", _evil_entries())
def test_the_ways_to_smuggle_a_key_in_are_closed(what: str) -> None:
    history = KeyHistory.fold(KEYS[0].verifier(), HONEST)
    with pytest.raises(LedgerError) as caught:
        history.after(20, _evil_entries()[what])
    assert caught.value.code == "ledger.key_history"


def test_a_rotation_of_another_log_is_refused() -> None:
    elsewhere = [Ed25519Signer("example.com/other", bytes([number]) * 32) for number in range(2)]
    history = KeyHistory.trusting(KEYS[0].verifier())
    with pytest.raises(LedgerError, match="not the current one"):
        history.after(0, rotation_entry(elsewhere[0], elsewhere[1], reason="x"))
    with pytest.raises(LedgerError, match="another name"):
        rotation_entry(KEYS[0], elsewhere[1], reason="x")
    with pytest.raises(LedgerError, match="is the old one"):
        rotation_entry(KEYS[0], KEYS[0], reason="x")


def _signed_rotation(new_text: str, new_endorsement: bytes) -> Entry:
    text = f"guardrails ledger key rotation v1\n{NAME}\n{KEYS[0].verifier()}\n{new_text}\n".encode()
    endorsements = {"old": base64_text(KEYS[0].sign(text)), "new": base64_text(new_endorsement)}
    return {"type": "key.rotate", "old": str(KEYS[0].verifier()), "new": new_text, "reason": "x", "endorsements": endorsements}


def test_even_the_current_key_cannot_bring_in_a_key_that_anybody_can_sign_for() -> None:
    identity = bytes([1]) + bytes(31)
    weak = f"{NAME}+{key_hash(NAME, identity).hex()}+{base64_text(ED25519 + identity)}"
    forged = identity + bytes(32)
    Ed25519PublicKey.from_public_bytes(identity).verify(forged, b"whatever it is")  # raises unless it holds
    with pytest.raises(LedgerError, match="small order"):
        KeyHistory.trusting(KEYS[0].verifier()).after(0, _signed_rotation(weak, forged))


def test_even_the_current_key_cannot_rename_the_log() -> None:
    renamed = Ed25519Signer("example.com/other", b"r" * 32)
    text = f"guardrails ledger key rotation v1\n{NAME}\n{KEYS[0].verifier()}\n{renamed.verifier()}\n".encode()
    with pytest.raises(LedgerError, match="another name than the log"):
        KeyHistory.trusting(KEYS[0].verifier()).after(0, _signed_rotation(str(renamed.verifier()), renamed.sign(text)))


def test_a_key_that_signs_in_another_way_cannot_become_the_logs_key() -> None:
    witness = Cosigner(NAME, b"w" * 32)
    text = f"guardrails ledger key rotation v1\n{NAME}\n{KEYS[0].verifier()}\n{witness.verifier()}\n".encode()
    with pytest.raises(LedgerError, match="plain Ed25519") as caught:
        KeyHistory.trusting(KEYS[0].verifier()).after(0, _signed_rotation(str(witness.verifier()), witness.sign(text)))
    assert caught.value.code == "ledger.key_history"
    with pytest.raises(LedgerError, match="plain Ed25519"):
        rotation_entry(KEYS[0], witness, reason="x")
    with pytest.raises(LedgerError, match="plain Ed25519"):
        KeyHistory.trusting(witness.verifier())


@pytest.mark.parametrize("from_size", [1, 7, 9, 10, 11, True, "8", None])
def test_the_size_of_a_revocation_is_signed(from_size: object) -> None:
    history = KeyHistory.fold(KEYS[0].verifier(), HONEST[:3])
    with pytest.raises(LedgerError) as caught:
        history.after(10, HONEST[3][1] | {"from_size": from_size})
    assert caught.value.code == "ledger.key_history"


def test_a_history_cannot_begin_with_a_key_that_anybody_can_sign_for() -> None:
    with pytest.raises(LedgerError, match="small order"):
        KeyHistory.trusting(Verifier(NAME, bytes([1]) + bytes(31)))


def test_two_rotations_from_one_key_are_a_fork() -> None:
    history = KeyHistory.trusting(KEYS[0].verifier()).after(0, _rotate(0, 1))
    with pytest.raises(LedgerError, match="not the current one"):
        history.after(1, _rotate(0, 2))


def test_entries_are_taken_in_the_order_of_the_log() -> None:
    history = KeyHistory.trusting(KEYS[0].verifier()).after(4, {"type": "intent"})
    with pytest.raises(LedgerError, match="order"):
        history.after(4, _rotate(0, 1))
