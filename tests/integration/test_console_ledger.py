"""The browser checks the ledger itself: what was signed is green, whatever was changed since is red, whoever changed it."""

from __future__ import annotations

import random
import shutil
import sqlite3
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from guardrails.approval import ApprovalDesk, ApprovalStore
from guardrails.console import Console, ConsoleSettings
from guardrails.console.pages.signing_in import one_time_link
from guardrails.console.projection import Projection
from guardrails.console.tickets import Tickets
from guardrails.ledger import Ledger, SessionKey, merkle
from guardrails.ledger.administration import rotate_key
from guardrails.ledger.checkpoint import open_checkpoint
from guardrails.ledger.keys import Ed25519Signer
from guardrails.model import Principal
from tests.conftest import missing
from tests.support.console_demo import serve

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""
NAME = "example.com/log"
SIZE = 560
KIM = Principal("kim@example.com", frozenset({"auditors"}))
FIRST = "SELECT name FROM customers WHERE id = ?"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM:
        missing("there is no Chromium")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM)
        yield launched
        launched.close()


class Site:
    """Ledgers in files, served one after the other under one address, as a server would whose files somebody exchanges."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.signer = Ed25519Signer.generate(NAME)
        self.path = folder / "audit.db"
        with Ledger.open(self.path, signer=self.signer) as ledger:
            key = SessionKey({"principal": {"id": "ana@example.com", "verified": "jwt"}, "agent": {"name": "bot"}})
            ledger.bind("s-1", key)
            intent = ledger.append(
                {
                    "type": "intent",
                    "session": "s-1",
                    "statement": {"normalised": FIRST, "kind": "select", "reads": ["customers.name"]},
                    "decision": {"effect": "allow", "rules": ["read"], "masks": []},
                }
            )
            ledger.append({"type": "outcome", "session": "s-1", "intent": intent.entry_id, "status": "ok", "rows": 1})
            ledger.append_many([{"type": "note", "text": f"number {n}"} for n in range(SIZE - 3)])
        self.address = ""
        self.links: list[str] = []
        self.cookies: list[Any] = []

    def copy(self, name: str) -> Path:
        """Returns a copy of the ledger, to do something to."""
        path = self.folder / name / "audit.db"
        path.parent.mkdir()
        for suffix in ("", ".pub"):
            shutil.copy(f"{self.path}{suffix}", f"{path}{suffix}")
        return path

    def append(self, path: Path, count: int) -> None:
        with Ledger.open(path, signer=self.signer) as ledger:
            ledger.append_many([{"type": "note", "text": f"later {n}"} for n in range(count)])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("ledger"))


@pytest.fixture(scope="module")
def exchange(site: Site) -> Iterator[Callable[[Path], None]]:
    """Serves a ledger under the one address; the last one that was asked for."""
    with ExitStack() as stack:
        current: dict[str, Any] = {}
        settings: list[ConsoleSettings] = []
        tickets = Tickets.open(site.folder / "tickets")
        stack.callback(tickets.close)

        class Exchanged:
            """The ledger and its projection that are served now."""

            def __init__(self, name: str) -> None:
                self._name = name

            def __getattr__(self, attribute: str) -> Any:
                return getattr(current[self._name], attribute)

        def make(base_url: str) -> Console:
            settings.append(ConsoleSettings(base_url=base_url, sign_in_tries=1000))
            return Console(settings[0], Exchanged("desk"), Exchanged("ledger"), tickets, projection=Exchanged("projection"))  # type: ignore[arg-type]

        base_url = stack.enter_context(serve(make))

        def exchange(path: Path) -> None:
            ledger = stack.enter_context(Ledger.open(path, read_only=True))
            store = stack.enter_context(ApprovalStore.open(path))
            projection = stack.enter_context(Projection.open(ledger))
            current.update(ledger=ledger, desk=ApprovalDesk(store, ledger), projection=projection)
            site.address = base_url
            if not site.links:
                site.links.append(one_time_link(Console(settings[0], current["desk"], ledger, tickets), KIM))

        yield exchange


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context()
    made.set_default_timeout(10_000)
    problems: list[str] = []
    made.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    made.on("weberror", lambda error: problems.append(str(error.error)))
    yield made
    made.close()
    assert [text for text in problems if "Failed to load resource" not in text] == []


@pytest.fixture
def show(context: BrowserContext, exchange: Callable[[Path], None], site: Site) -> Callable[..., Page]:
    """Opens a page over a ledger, signed in, and waits until the browser has said what it found; a first visit says ``new``."""
    pages: list[Page] = []

    def opened(path: Path, where: str, *, change: str = "") -> Page:
        exchange(path)
        if change:
            with sqlite3.connect(path) as connection:
                assert connection.execute(change).rowcount > 0
        if not site.cookies:
            token = site.links[0].partition("token=")[2]
            context.request.post(f"{site.address}/signin/link", form={"token": token}, max_redirects=0)
            site.cookies.extend(context.cookies())
        if not pages:
            context.add_cookies(site.cookies)
            pages.append(context.new_page())
        pages[0].goto(f"{site.address}{where}")
        expect(pages[0].locator("[data-verdict]")).not_to_have_attribute("data-state", "waiting")
        return pages[0]

    return opened


def expect_state(page: Page, state: str, text: str = "") -> None:
    expect(page.locator("[data-verdict]")).to_have_attribute("data-state", state)
    expect(page.locator("[data-verdict]")).to_contain_text(text)


def marks(page: Page) -> dict[int, str]:
    return {
        int(element.get_attribute("data-mark") or ""): element.get_attribute("data-state") or ""
        for element in page.locator("[data-mark]").all()
    }


def steps(page: Page) -> str:
    return " | ".join(page.locator("[data-steps] li").all_text_contents())


def test_what_was_signed_is_green_and_the_key_is_remembered(show: Callable[..., Page], site: Site) -> None:
    page = show(site.path, "/ledger/1")
    expect_state(page, "new", "a key that is new to this browser")
    assert "Compare it with one that you have from elsewhere" in steps(page)
    page = show(site.path, "/ledger/1")
    expect_state(page, "good", f"signed checkpoint over {SIZE} entries")
    assert marks(page) == {1: "good"}
    for said in ("saw first", f"over {SIZE} entries is signed by this key", "saw before", "signed by its session's key"):
        assert said in steps(page), said
    assert FIRST in (page.locator("[data-leaf]").text_content() or ""), "shown from the bytes that were checked"
    site.append(site.copy("longer"), 7)
    page = show(site.folder / "longer" / "audit.db", "/ledger")
    expect_state(page, "good", "50 of 50 entries")
    assert f"contains the checkpoint over {SIZE} entries" in steps(page)
    assert set(marks(page).values()) == {"good"}
    page = show(site.folder / "longer" / "audit.db", "/sessions/s-1")
    expect_state(page, "good", "3 of 3 entries")


def test_a_tampered_entry_is_red_and_the_others_are_not(show: Callable[..., Page], site: Site) -> None:
    path = site.copy("tampered")
    change = "UPDATE entries SET leaf = CAST(replace(leaf, 'id = ?', 'id < ?') AS BLOB) WHERE idx = 1"
    expect_state(show(path, "/ledger/2", change=change), "new", "2 of 2")
    page = show(path, "/ledger/1")
    expect_state(page, "bad", "1 of 2 entries do not hold")
    assert marks(page) == {1: "bad"}
    expect(page.locator("[data-mark='1']")).to_have_text("does not hold")
    expect(page.locator("[data-entry='1']")).to_have_class("is-tampered")
    assert "its hash does not lead to the root" in steps(page)
    color = page.locator("[data-mark='1']").evaluate("element => getComputedStyle(element).color")
    red, green, blue = (int(part) for part in color.removeprefix("rgb(").rstrip(")").split(","))
    assert red > 2 * max(green, blue)
    page = show(path, "/sessions/s-1")
    expect_state(page, "bad", "1 of 3 entries do not hold")
    assert marks(page) == {0: "good", 1: "bad", 2: "good"}
    page = show(path, "/ledger?at=30")
    expect_state(page, "bad", "1 of 31 entries do not hold")
    assert {index for index, state in marks(page).items() if state == "bad"} == {1}


@pytest.mark.parametrize(
    ("name", "statement", "where", "said"),
    [
        ("tail", "UPDATE entries SET leaf = CAST(replace(leaf, 'number', 'nummer') AS BLOB) WHERE idx = 555", "/ledger/555", "root"),
        ("gone", "DELETE FROM entries WHERE idx = 9", "/ledger/9", "not in the ledger any more"),
        ("tile", "UPDATE tiles SET hashes = zeroblob(8192) WHERE level = 0 AND idx = 0", "/ledger/9", "root"),
        ("tiles", "DELETE FROM tiles", "/ledger/9", "cannot prove"),
        ("note", "UPDATE head SET note = replace(note, '560', '559')", "/ledger/9", "signature"),
    ],
)  # fmt: skip
def test_whatever_is_changed_is_red(
    show: Callable[..., Page], site: Site, name: str, statement: str, where: str, said: str
) -> None:
    # The ledger is open before somebody changes its file, and the browser does not know it yet.
    page = show(site.copy(f"changed-{name}"), where, change=statement)
    expect_state(page, "bad")
    assert said in steps(page)


def test_a_rewritten_log_is_red_even_when_its_own_key_signed_it(show: Callable[..., Page], site: Site) -> None:
    show(site.path, "/ledger/1")
    other = site.folder / "rewritten" / "audit.db"
    other.parent.mkdir()
    with Ledger.open(other, signer=site.signer) as ledger:
        ledger.append_many([{"type": "note", "text": f"another {n}"} for n in range(SIZE + 5)])
    expect_state(show(other, "/ledger/1"), "bad", "does not contain what it contained before")


def test_a_log_that_went_back_is_red(show: Callable[..., Page], site: Site) -> None:
    longer = site.copy("went-back")
    site.append(longer, 3)
    show(longer, "/ledger/1")
    expect_state(show(site.path, "/ledger/1"), "bad", "fewer entries than it had before")


def test_another_key_is_red_and_a_typed_one_is_gone_by(show: Callable[..., Page], site: Site) -> None:
    show(site.path, "/ledger/1")
    other = site.folder / "forged" / "audit.db"
    other.parent.mkdir()
    forger = Ed25519Signer.generate(NAME)
    with Ledger.open(other, signer=forger) as ledger:
        ledger.append_many([{"type": "note"} for _ in range(SIZE)])
    page = show(other, "/ledger/1")
    expect_state(page, "bad", "not signed by the key that you know")
    page.get_by_text("How, and against which key").click()
    page.get_by_label("The key that you know").fill("example.com/log+00000000+AAAA")
    page.get_by_role("button", name="Go by this key").click()
    expect(page.locator("[data-pin-error]")).to_contain_text("key")
    page.get_by_label("The key that you know").fill(str(site.signer.verifier()))
    page.get_by_role("button", name="Go by this key").click()
    expect_state(page, "bad", "not signed by the key that you know")
    page = show(site.path, "/ledger/1")
    expect_state(page, "good")
    assert "the one that you entered" in steps(page)
    page.get_by_text("How, and against which key").click()
    page.get_by_role("button", name="Forget key and checkpoint").click()
    expect_state(show(other, "/ledger/1"), "new", "new to this browser")


def test_a_rotated_key_is_followed_by_the_word_of_the_one_before(show: Callable[..., Page], site: Site) -> None:
    path = site.copy("rotated")
    show(path, "/ledger/1")
    new = Ed25519Signer.generate(NAME)
    with Ledger.open(path, signer=site.signer) as ledger:
        rotate_key(ledger, new, reason="yearly")
    page = show(path, "/ledger/1")
    expect_state(page, "good")
    assert "endorsed the new one" in steps(page)
    with Ledger.open(path, signer=new, previous=[site.signer]) as ledger:
        ledger.append({"type": "note"})
    expect_state(show(path, "/ledger/1"), "good")


def test_a_checkpoint_from_elsewhere_is_compared(show: Callable[..., Page], site: Site) -> None:
    with Ledger.open(site.path, read_only=True) as ledger:
        note = ledger.checkpoint()
    longer = site.copy("compared")
    site.append(longer, 20)
    page = show(longer, "/ledger")
    page.get_by_text("How, and against which key").click()
    page.get_by_label("A checkpoint from elsewhere").fill(note)
    page.get_by_role("button", name="Compare").click()
    verdict = page.locator("[data-compare-verdict]")
    expect(verdict).to_contain_text(f"its {SIZE} entries are the first ones here")
    page.get_by_label("A checkpoint from elsewhere").fill(note.replace(f"\n{SIZE}\n", f"\n{SIZE - 1}\n"))
    page.get_by_role("button", name="Compare").click()
    expect(verdict).to_contain_text("signature does not hold")
    expect(verdict).to_have_attribute("data-state", "bad")


def test_a_page_that_shows_something_else_than_was_signed_is_red(
    show: Callable[..., Page], site: Site, context: BrowserContext
) -> None:
    show(site.path, "/ledger/1")

    def lie(route: Any) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text().replace("SELECT</span> name", "SELECT</span> nothing"))

    context.route("**/sessions/s-1", lie)
    page = show(site.path, "/sessions/s-1")
    expect_state(page, "bad", "1 of 3 entries do not hold")
    assert "shows another statement.normalised than was signed" in steps(page)


def test_the_script_computes_what_the_ledger_computes(show: Callable[..., Page], site: Site) -> None:
    """Trees of many sizes, by the Python that has its own vectors: every proof holds, and none does with a bit changed."""
    page = show(site.path, "/ledger/1")
    chance = random.Random(7)
    cases = []
    for size in (1, 2, 3, 5, 8, 13, 64, 100):
        leaves = [chance.randbytes(chance.randrange(20)) for _ in range(size)]
        hashes = [merkle.leaf_hash(leaf) for leaf in leaves]
        index, old = chance.randrange(size), chance.randrange(1, size + 1)
        cases.append(
            {
                "leaf": b64(leaves[index]),
                "index": index,
                "size": size,
                "root": b64(merkle.root_hash(hashes)),
                "proof": [b64(digest) for digest in merkle.inclusion_proof(hashes, index)],
                "old": old,
                "oldRoot": b64(merkle.root_hash(hashes[:old])),
                "consistency": [b64(digest) for digest in merkle.consistency_proof(hashes, old)],
            }
        )
    found = page.evaluate(COMPARE, cases)
    assert found == [{"inclusion": True, "consistency": True, "forged": 0} for _ in cases]
    with Ledger.open(site.path, read_only=True) as ledger:
        head = open_checkpoint(ledger.checkpoint(), site.signer.verifier())
        opened = page.evaluate(OPEN, [ledger.checkpoint(), ledger.verifier_key])
    assert opened == [head.origin, str(head.size), b64(head.root)]


def b64(data: bytes) -> str:
    return b64encode(data).decode("ascii")


OPEN = """async ([note, key]) => {
  const verify = await import("/static/verify.js");
  const head = await verify.openCheckpoint(note, await verify.parseVerifier(key));
  return [head.origin, String(head.size), verify.toBase64(head.root)];
}"""
COMPARE = """async (cases) => {
  const verify = await import("/static/verify.js");
  const bytes = verify.fromBase64;
  const holds = (work) => work().then(() => true, (error) => { if (error instanceof verify.Refusal) return false; throw error; });
  const flipped = (hash) => { const changed = hash.slice(); changed[5] ^= 16; return changed; };
  const results = [];
  for (const one of cases) {
    const head = { size: BigInt(one.size), root: bytes(one.root) };
    const [leaf, proof, path] = [bytes(one.leaf), one.proof.map(bytes), one.consistency.map(bytes)];
    const old = [BigInt(one.old), head.size, bytes(one.oldRoot), head.root];
    const forgeries = [
      () => verify.checkInclusion(leaf, one.index, { ...head, root: flipped(head.root) }, proof),
      () => verify.checkInclusion(new Uint8Array([...leaf, 0]), one.index, head, proof),
      () => verify.checkInclusion(leaf, one.index, head, [...proof, head.root]),
      () => verify.checkInclusion(leaf, one.size, head, proof),
      () => verify.checkInclusion(leaf, one.index, head, null),
      () => verify.checkConsistency(old[0], old[1], flipped(old[2]), old[3], path),
      () => verify.checkConsistency(old[0], old[1], old[2], flipped(old[3]), path),
      () => verify.checkConsistency(old[0], old[1], old[2], old[3], [...path, head.root]),
      ...proof.map((hash, at) => () => verify.checkInclusion(leaf, one.index, head, proof.with(at, flipped(hash)))),
      ...proof.map((hash, at) => () => verify.checkInclusion(leaf, one.index, head, proof.toSpliced(at, 1))),
      ...path.map((hash, at) => () => verify.checkConsistency(...old, path.with(at, flipped(hash)))),
    ];
    let forged = 0;
    for (const forgery of forgeries) if (await holds(forgery)) forged += 1;
    results.push({
      inclusion: await holds(() => verify.checkInclusion(leaf, one.index, head, proof)),
      consistency: await holds(() => verify.checkConsistency(...old, path)),
      forged,
    });
  }
  return results;
}"""
