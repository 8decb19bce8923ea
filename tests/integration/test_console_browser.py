"""The console in a real browser: people sign in, decide, and the agent that waits goes on; what must not work does not."""

from __future__ import annotations

import re
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect, sync_playwright

from guardrails import ApprovalRequired, Guard, Principal
from guardrails.approval import ApprovalStore, WaitingChannel
from guardrails.console import Console
from guardrails.model import Result
from tests.conftest import missing
from tests.support.console_demo import ANA, BO, KIM, LEA, ConsoleDemo, open_demo, serve
from tests.support.identity_provider import IdentityProvider

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""


@dataclass(frozen=True)
class Served:
    """A console that is served, and the folder that it is about."""

    demo: ConsoleDemo
    address: str
    folder: Path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM:
        missing("there is no Chromium")
    expect.set_options(timeout=20_000)  # Other workers use the same two cores.
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, identity_provider: IdentityProvider) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("console")
    with ExitStack() as stack:
        opened: list[ConsoleDemo] = []

        def make(address: str) -> Console:
            provider = identity_provider.sign_in(f"{address}/signin/callback")
            settings = {"approver_groups": frozenset({"leads", "privacy", "managers"}), "sign_in_tries": 1000}
            opened.append(
                stack.enter_context(open_demo(folder, base_url=address, provider=provider, sessions=1, settings=settings))
            )
            return opened[0].console

        with serve(make) as address:
            yield Served(opened[0], address, folder)


class Profiles:
    """Browser profiles by person, each signed in once; what breaks the content security policy or fails in a script is kept."""

    def __init__(self, browser: Browser, served: Served) -> None:
        self._browser = browser
        self._served = served
        self._contexts: dict[object, BrowserContext] = {}
        self.problems: list[str] = []

    def new(self, **options: Any) -> BrowserContext:
        made = self._browser.new_context(base_url=self._served.address, reduced_motion="reduce", **options)
        made.set_default_timeout(15_000)
        made.on("console", self._hear)
        made.on("weberror", lambda error: self.problems.append(str(error.error)))
        made.on("request", self._see)
        return made

    def page(self, who: Principal, path: str = "/inbox") -> Page:
        """A page of somebody who is signed in."""
        key = who.id, who.groups
        if key not in self._contexts:
            self._contexts[key] = self.new()
            sign_in(self._contexts[key], self._served, who)
        page = self._contexts[key].pages[0]
        page.set_viewport_size({"width": 1200, "height": 800})
        page.goto(path)
        return page

    def close(self) -> None:
        for context in self._contexts.values():
            context.close()

    def _hear(self, message: ConsoleMessage) -> None:
        # A refusal that a test provokes is reported by the browser as a failed resource.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.problems.append(message.text)

    def _see(self, request: Request) -> None:
        is_ours = request.url.startswith(self._served.address)
        if not (is_ours or request.is_navigation_request()) and request.frame.url.startswith(self._served.address):
            self.problems.append(request.url)


@pytest.fixture(scope="module")
def profiles(browser: Browser, served: Served) -> Iterator[Profiles]:
    made = Profiles(browser, served)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def nothing_is_loaded_from_elsewhere_and_no_script_fails(profiles: Profiles) -> Iterator[None]:
    yield
    assert profiles.problems == []


def sign_in(context: BrowserContext, served: Served, who: Principal) -> Page:
    page = context.new_page()
    page.goto(served.demo.link(who))
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Inbox")).to_be_visible()
    return page


def test_an_agent_that_waits_goes_on_when_somebody_approves_with_a_reason(profiles: Profiles, served: Served) -> None:
    page = profiles.page(LEA)
    results: list[Result] = []

    def work() -> None:
        with (
            ApprovalStore.open(served.folder / "audit.db") as store,
            Guard.open(
                served.folder / "policy.yaml",
                database=f"sqlite:///{served.folder / 'shop.db'}",
                ledger=f"sqlite:///{served.folder / 'audit.db'}",
                approvals=WaitingChannel(store, poll_s=0.05, timeout_s=30),
            ) as guard,
            guard.session(principal=ANA, agent="waiting-bot", purpose="support"),
        ):
            results.append(guard.execute("UPDATE payments SET refunded = 1 WHERE id = 201"))

    agent = threading.Thread(target=work)
    agent.start()
    # The list is open: the new request comes into it by itself.
    row = page.get_by_role("row", name=re.compile("waiting-bot"))
    row.get_by_role("link", name="Update payments").click()
    expect(page.get_by_label("As the agent wrote it")).to_contain_text("WHERE id = 201")
    expect(page.get_by_text("refunded changed")).to_be_visible()
    # The row that it would change, before and after, read with Lea's own rights.
    expect(page.get_by_role("table", name="All rows that you may see").locator("ins")).to_have_text("1")
    page.get_by_label("Reason").fill("The parcel is lost.")
    page.get_by_role("button", name="Approve").click()
    agent.join(20)
    assert [result.rows_changed for result in results] == [1]
    # Neither the answer nor its use had to be loaded again.
    expect(page.locator("#state").get_by_text("used", exact=True)).to_be_visible()
    expect(page.locator("#state")).to_contain_text("lea@example.com")
    expect(page.get_by_role("button", name="Approve")).to_have_count(0)


def test_a_requester_sees_no_form_and_cannot_send_one(profiles: Profiles, served: Served) -> None:
    page = profiles.page(Principal(ANA.id, frozenset({"leads"})), f"/requests/{served.demo.requests['refund']}")
    expect(page.get_by_text("This is your own request")).to_be_visible()
    expect(page.get_by_role("button", name="Approve")).to_have_count(0)
    token = page.locator("input[name=csrf_token]").first.input_value()
    form = {"csrf_token": token, "answer": "approve", "reason": "mine"}
    answer = page.request.post(f"/requests/{served.demo.requests['refund']}/answer", form=form)
    assert answer.status == 403
    assert "Requesters cannot answer their own request." in answer.text()


def test_a_forged_token_is_refused(profiles: Profiles, served: Served) -> None:
    page = profiles.page(BO, f"/requests/{served.demo.requests['refund']}")
    page.locator("#answer-form input[name=csrf_token]").evaluate("field => { field.value = 'forged'; }")
    page.get_by_label("Reason").fill("forged")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_text("identity.form_forged")).to_be_visible()
    assert served.demo.guard.desk.status(served.demo.requests["refund"], now=int(time.time())).votes == ()


def test_a_form_on_another_site_is_refused(profiles: Profiles, served: Served) -> None:
    page = profiles.page(BO)
    token = page.locator("input[name=csrf_token]").first.input_value()
    target = f"{served.address}/requests/{served.demo.requests['refund']}/answer"
    # The same machine under another name is another site to the browser.
    other = served.address.replace("127.0.0.1", "localhost")
    fields = f'<input name="csrf_token" value="{token}"><input name="answer" value="approve"><input name="reason" value="x">'
    page.route(
        f"{other}/**",
        lambda route: route.fulfill(
            content_type="text/html", body=f'<form method="post" action="{target}">{fields}<button>Win</button></form>'
        ),
    )
    page.goto(other)
    page.get_by_role("button", name="Win").click()
    page.wait_for_url("**/requests/**")
    expect(page.get_by_text("identity.form_forged")).to_be_visible()
    assert served.demo.guard.desk.status(served.demo.requests["refund"], now=int(time.time())).votes == ()


def test_a_link_is_good_once(profiles: Profiles, served: Served) -> None:
    link = served.demo.link(KIM)
    page = profiles.new().new_page()
    page.goto(link)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Inbox")).to_be_visible()
    page.goto(link)
    expect(page.get_by_text("identity.link_invalid")).to_be_visible()
    page.context.close()


def test_an_approval_is_used_once(profiles: Profiles, served: Served) -> None:
    sql = "UPDATE payments SET refunded = 1 WHERE id = 202"
    with served.demo.guard.session(principal=ANA, agent="once-bot", purpose="support"):
        with pytest.raises(ApprovalRequired) as waiting:
            served.demo.guard.execute(sql)
        page = profiles.page(BO, f"/requests/{waiting.value.request.id}")
        page.get_by_label("Reason").fill("Once.")
        page.get_by_role("button", name="Approve").click()
        expect(page.locator("#state").get_by_text("approved", exact=True)).to_be_visible()
        assert served.demo.guard.execute(sql).rows_changed == 1
        with pytest.raises(ApprovalRequired) as again:
            served.demo.guard.execute(sql)
    assert again.value.request.id != waiting.value.request.id
    token = page.locator("input[name=csrf_token]").first.input_value()
    form = {"csrf_token": token, "answer": "approve", "reason": "again"}
    assert page.request.post(f"/requests/{waiting.value.request.id}/answer", form=form).status == 409


def test_two_people_of_a_quorum_by_keyboard_alone(profiles: Profiles, served: Served) -> None:
    page = profiles.page(LEA)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    for _ in range(60):
        page.keyboard.press("j")
        if "Update orders" in page.evaluate("document.activeElement.textContent"):
            break
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 of 2 people have said yes")).to_be_visible()
    page.keyboard.press("r")
    page.keyboard.type("I have asked the warehouse.")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#state").get_by_text("approved", exact=True)).to_be_visible()


def test_what_is_typed_stays_while_others_answer(profiles: Profiles, served: Served) -> None:
    with (
        served.demo.guard.session(principal=ANA, agent="slow-bot", purpose="support"),
        pytest.raises(ApprovalRequired) as waiting,
    ):
        served.demo.guard.execute("UPDATE orders SET status = 'lost' WHERE id = 599")
    page = profiles.page(LEA, f"/requests/{waiting.value.request.id}")
    page.get_by_label("Reason").fill("I am still writing")
    served.demo.guard.approve(waiting.value.request.id, by=BO, reason="Yes.")
    expect(page.get_by_text("1 of 2 people have said yes")).to_be_visible()
    assert page.get_by_label("Reason").input_value() == "I am still writing"
    served.demo.guard.deny(waiting.value.request.id, by=Principal("pat@example.com", frozenset({"leads"})), reason="No.")
    expect(page.get_by_label("Reason")).to_have_count(0)


def test_rows_are_shown_with_the_viewers_own_rights_and_the_reading_is_recorded(profiles: Profiles, served: Served) -> None:
    page = profiles.page(LEA, f"/requests/{served.demo.requests['unmask']}")
    page.get_by_role("button", name="Show the rows").click()
    row = page.get_by_role("table", name="All rows that you may see").locator("tbody tr")
    expect(row).to_contain_text("***")
    with closing(sqlite3.connect(served.folder / "shop.db")) as database:
        ((number,),) = database.execute("SELECT ssn FROM customers WHERE id = 17").fetchall()
    assert number not in page.content()
    *_, intent, _ = served.demo.guard.ledger.entries()
    assert (intent["type"], intent["principal"]["id"], intent["tool"]) == ("intent", LEA.id, "preview")


def test_a_review_is_closed_by_somebody_else(profiles: Profiles, served: Served) -> None:
    page = profiles.page(BO)
    page.get_by_role("link", name="Reviews").click()
    page.get_by_role("link", name="Update payments").click()
    expect(page.get_by_text("The card processor charges twice")).to_be_visible()
    page.get_by_label("What you found").fill("It was right: the charge was double.")
    page.get_by_role("button", name="Close the review").click()
    expect(page.get_by_text("closed", exact=True)).to_be_visible()


def test_a_window_is_ended(profiles: Profiles, served: Served) -> None:
    page = profiles.page(LEA)
    page.get_by_role("link", name="Windows").click()
    page.get_by_role("button", name="End now: refunds-need-a-lead for ana@example.com").click()
    expect(page.get_by_text("No window is open")).to_be_visible()


def test_the_feed_is_live_and_can_be_paused(profiles: Profiles, served: Served) -> None:
    page = profiles.page(KIM)
    page.get_by_role("link", name="Live").click()
    with served.demo.guard.session(principal=ANA, agent="live-bot", purpose="support"):
        served.demo.guard.execute("SELECT name FROM products WHERE id = 3")
        expect(page.get_by_role("row", name=re.compile("live-bot")).first).to_be_visible()
        page.get_by_role("button", name="Pause updates").click()
        expect(page.get_by_role("button", name="Updates are paused")).to_be_visible()
        served.demo.guard.execute("SELECT category FROM products WHERE id = 4")
        page.wait_for_timeout(900)
        expect(page.get_by_text("category")).to_have_count(0)
        page.get_by_role("button", name="Updates are paused").click()
        expect(page.get_by_text("category").first).to_be_visible()


def test_people_sign_in_at_their_provider(profiles: Profiles, served: Served) -> None:
    page = profiles.new().new_page()
    # The provider's own page asks for a style sheet from elsewhere.
    page.route(lambda url: "127.0.0.1" not in url and "localhost" not in url, lambda route: route.abort())
    wanted = f"/requests/{served.demo.requests['unmask']}"
    page.goto(wanted)
    expect(page).to_have_url(re.compile("/signin"))
    page.get_by_role("link", name="Sign in with the shop's provider").click()
    page.get_by_role("button", name="lea@example.com").click()
    # Back where the way began; known by the provider, not merely named.
    expect(page).to_have_url(served.address + wanted)
    expect(page.get_by_text("lea@example.com")).to_be_visible()
    expect(page.get_by_text("unverified")).to_have_count(0)
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(re.compile("/signin"))
    page.goto(wanted)
    expect(page).to_have_url(re.compile("/signin"))
    assert page.request.get("/signin/callback?code=x&state=y", max_redirects=0).status == 410
    page.context.close()


def test_no_page_is_wider_than_a_phone_and_every_field_has_a_label(profiles: Profiles, served: Served) -> None:
    page = profiles.page(LEA)
    page.set_viewport_size({"width": 360, "height": 740})
    paths = ["/inbox", "/live", "/windows", "/reviews", *(f"/requests/{served.demo.requests[n]}" for n in ("quorum", "unmask"))]
    for path in [*paths, f"/reviews/{served.demo.requests['review']}"]:
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), path
        assert page.locator("h1").count() == 1, path
        unnamed = page.evaluate(
            """() => [...document.querySelectorAll('input:not([type=hidden]), textarea, select, button, a')]
                .filter(e => !(e.labels && e.labels.length) && !e.getAttribute('aria-label') && !e.textContent.trim())
                .map(e => e.outerHTML)"""
        )
        assert unnamed == [], path
