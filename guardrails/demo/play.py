"""Plays the demo: builds the shop, lets the agents work through the scenes, then verifies the ledger and a changed copy of it."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from importlib.resources import files
from pathlib import Path

from guardrails.demo.agents import MODEL, Agent, build_agent
from guardrails.demo.scenes import LEAD, SCENES, AgentKind, Scene
from guardrails.demo.script import next_turn
from guardrails.demo.shop import build_shop
from guardrails.demo.story import Answered, Flip, Leaf, Steps, Teller
from guardrails.errors import Denied, UsageError
from guardrails.guard import Guard
from guardrails.ledger import Ledger
from guardrails.ledger.merkle import leaf_hash
from guardrails.ledger.verify import verify
from guardrails.model import Principal
from guardrails.testing import ModelServer, only_loopback

__all__ = ["play"]

_REFUSAL, _BEFORE, _AFTER = b'"type":"refusal"', b'"id":"support@', b'"id":"rupport@'
_REASON = "The parcel of ticket 13 is lost."


def play(teller: Teller, agents: Sequence[AgentKind] = (), keep: Path | None = None) -> bool:
    """Plays every scene.

    Args:
        teller: Told everything as it happens.
        agents: Agents to play all scenes with, one after another; the scenes' own agents when empty.
        keep: Folder to make and leave the databases in; a temporary one when None.

    Returns:
        Whether every attempt ended as its scene wants, the ledger was verified, and its changed copy was not.

    Raises:
        UsageError: The folder exists and is not empty, or a client is not installed.
    """
    with _folder(keep) as folder, only_loopback():
        build_shop(folder / "shop.db")
        policy = folder / "policy.yaml"
        policy.write_text(files("guardrails.demo").joinpath("policy.yaml").read_text("utf-8"), "utf-8")
        casts = [tuple((scene, agent) for scene in SCENES) for agent in agents] or [tuple((s, s.agent) for s in SCENES)]
        url = f"sqlite:///{folder / 'audit.db'}"
        teller.opening(str(folder), tuple(dict.fromkeys(agent for cast in casts for _, agent in cast)))
        with Ledger.open(url) as ledger:
            steps = Steps(teller.step, lambda: _newest_request(ledger))
            with (
                ModelServer(lambda conversation: next_turn((s.question for s in SCENES), conversation)) as server,
                Guard.open(policy, database=f"sqlite:///{folder / 'shop.db'}", ledger=ledger, observer=steps) as guard,
            ):
                is_as_wanted = _play_scenes(casts, guard, server.url, steps, teller)
                note, key = ledger.checkpoint(), ledger.verifier_key
        teller.checkpoint(note)
        report = verify(url, key=key, checkpoint=note)
        teller.verified(report)
        flip, copy_url = _change_one_byte(folder)
        changed = verify(copy_url, key=key, checkpoint=note)
        teller.tampered(flip, changed)
        is_as_wanted = is_as_wanted and report.is_verified and changed.first_bad == flip.entry
        teller.closing(is_as_wanted, str(folder) if keep else None)
        return is_as_wanted


def _play_scenes(
    casts: Sequence[Sequence[tuple[Scene, AgentKind]]], guard: Guard, url: str, steps: Steps, teller: Teller
) -> bool:
    is_as_wanted = True
    for cast in casts:
        built: dict[AgentKind, Agent] = {}
        for number, (scene, kind) in enumerate(cast, 1):
            if kind not in built:
                built[kind] = build_agent(kind, guard, url, teller.says)
            teller.scene(number, scene, kind)
            if scene.needs_approval:
                is_as_wanted &= _approve(guard, scene.principal, teller)
            teller.asks(scene.question.text)
            steps.codes.clear()
            with guard.session(principal=scene.principal, agent=f"{kind}-agent", model=MODEL, purpose=scene.purpose):
                answer = built[kind].ask(scene.question.text)
            steps.flush()
            teller.answer(answer)
            is_as_wanted &= tuple(steps.codes) == scene.wanted
    return is_as_wanted


def _approve(guard: Guard, requester: Principal, teller: Teller) -> bool:
    """The requester tries to approve the own request, then the lead does; returns whether only the second counted."""
    request = guard.pending()[0]
    codes = []
    for by in (requester, LEAD):
        code, message = "ok", ""
        try:
            guard.approve(request.id, by=by, reason=_REASON)
        except Denied as error:
            code, message = error.code, error.message
        teller.approval(Answered(request, by.id, _REASON, code, message))
        codes.append(code)
    return codes == ["approval.self", "ok"]


def _newest_request(ledger: Ledger) -> Leaf | None:
    index = ledger.size - 1
    if ledger.entry(index)["type"] != "approval.requested":
        return None
    return Leaf(index, leaf_hash(ledger.leaf(index)).hex())


def _change_one_byte(folder: Path) -> tuple[Flip, str]:
    """Copies the ledger and, in the copy, puts somebody else's name to the last thing that was refused."""
    original, copy = folder / "audit.db", folder / "changed" / "audit.db"
    copy.parent.mkdir()
    with closing(sqlite3.connect(original)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
        query = "SELECT idx, leaf FROM entries WHERE instr(leaf, ?) AND instr(leaf, ?) ORDER BY idx DESC LIMIT 1"
        index, leaf = target.execute(query, (_REFUSAL, _BEFORE)).fetchone()
    data = bytearray(copy.read_bytes())
    # An entry is short enough to lie in one piece in its page.
    start = data.index(leaf) + leaf.index(_BEFORE)
    data[start : start + len(_AFTER)] = _AFTER
    copy.write_bytes(data)
    offset = start + next(i for i, pair in enumerate(zip(_BEFORE, _AFTER, strict=True)) if pair[0] != pair[1])
    return Flip(offset, index, (_BEFORE.decode(), _AFTER.decode())), f"sqlite:///{copy}"


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="guardrails-demo-") as name:
            yield Path(name)
        return
    keep.mkdir(parents=True, exist_ok=True)
    if any(keep.iterdir()):
        raise UsageError("usage.input_invalid", f"The folder {keep} is not empty.", hint="Name a new folder.")
    yield keep.resolve()
