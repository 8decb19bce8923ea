"""The dry run in a real browser: by keyboard, tried again and again, its colours legible in the dark and the light, and on a phone."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from guardrails.console import Console
from guardrails.console.pages.signing_in import one_time_link
from tests.conftest import missing
from tests.support.console_api import Working, open_console, person
from tests.support.console_demo import serve

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""
EVERY_FATE = "UPDATE orders SET status = (SELECT max(email) FROM customers WHERE name <> 'x'), amount = 1 WHERE id = 1"
CONTRAST = """() => {
  const channels = color => color.match(/[\\d.]+/g).map(Number);
  const light = color => channels(color).slice(0, 3).map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  return [...document.querySelectorAll('.fate, .notice, .note, .chip')].map(element => {
    const style = getComputedStyle(element);
    let ground = element;
    while (channels(getComputedStyle(ground).backgroundColor)[3] === 0) ground = ground.parentElement;
    const pair = [light(style.color), light(getComputedStyle(ground).backgroundColor)].sort((a, b) => b - a);
    return [element.className, (pair[0] + 0.05) / (pair[1] + 0.05)];
  });
}"""
"""WCAG 2.2, relative luminance and contrast ratio."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM:
        missing("there is no Chromium")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Working, str]]:
    with open_console(tmp_path_factory.mktemp("browser")) as working:

        def at(address: str) -> Console:
            return replace(working.console, settings=replace(working.console.settings, base_url=address))

        with serve(at) as address:
            yield working, address


@pytest.fixture(scope="module")
def page(browser: Browser, served: tuple[Working, str]) -> Iterator[Page]:
    """The dry run as an auditor sees it; nothing may be blocked or fail in it."""
    working, address = served
    context = browser.new_context(base_url=address, reduced_motion="reduce")
    context.set_default_timeout(15_000)
    problems: list[str] = []
    context.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    context.on("weberror", lambda error: problems.append(str(error.error)))
    opened = context.new_page()
    opened.goto("/signin/link?token=" + one_time_link(working.console, person("ada")).partition("token=")[2])
    opened.get_by_role("button", name="Sign in").click()
    yield opened
    assert problems == []
    context.close()


def test_statements_are_tried_by_keyboard_one_after_the_other(page: Page) -> None:
    page.goto("/inbox")
    page.get_by_role("link", name="Dry run").click()
    page.wait_for_url("**/try", wait_until="load")
    page.keyboard.press("r")
    expect(page.get_by_label("Statement", exact=True)).to_be_focused()
    page.keyboard.type("SELECT email, ssn FROM customers")
    page.get_by_label("Id", exact=True).fill("ana@example.com")
    page.get_by_label("Groups").fill("support")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Would wait for a person", exact=True)).to_be_visible()
    expect(page.locator("mark", has_text="email")).to_have_class(re.compile("is-masked"))
    expect(page.locator("mark", has_text="ssn")).to_have_attribute("title", "customers.ssn is lifted")
    page.get_by_label("Statement", exact=True).fill("SELECT name FROM customers")
    page.get_by_role("button", name="Try it").click()
    expect(page.get_by_text("Would run", exact=True)).to_be_visible()
    expect(page.get_by_role("region", name="Regenerated statement")).to_contain_text('FROM "main"."customers"')
    page.get_by_label("Groups").fill("nobody")
    page.get_by_role("button", name="Try it").click()
    expect(page.get_by_text("Would be refused", exact=True)).to_be_visible()
    expect(page.get_by_label("Statement", exact=True)).to_have_value("SELECT name FROM customers")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_are_legible_and_never_alone(page: Page, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.goto("/try")
    page.get_by_label("Id", exact=True).fill("ana@example.com")
    page.get_by_label("Groups").fill("support")
    page.get_by_label("Attributes").fill('{"region": "north"}')
    page.get_by_label("Statement", exact=True).fill(EVERY_FATE)
    page.get_by_role("button", name="Try it").click()
    expect(page.locator(".coloured mark.is-denied", has_text="amount")).to_be_visible()
    found = page.evaluate(CONTRAST)
    assert len(found) > 15
    assert [(name, round(ratio, 2)) for name, ratio in found if ratio < 4.5] == []
    lines = page.evaluate(
        "() => [...document.querySelectorAll('.legend .fate')].map(e => getComputedStyle(e))"
        ".map(style => style.textDecorationLine + style.textDecorationStyle)"
    )
    assert len(set(lines)) == 5


def test_the_pages_fit_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    for path in ("/policy", "/try"):
        page.goto(path)
        if path == "/try":
            page.get_by_label("Statement", exact=True).fill(
                "SELECT name, email FROM customers WHERE region = 'a region with a rather long name'"
            )
            page.get_by_role("button", name="Try it").click()
            expect(page.locator(".coloured")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), path
        assert page.locator("h1").count() == 1
    page.set_viewport_size({"width": 1200, "height": 800})


def test_without_scripts_the_form_works_too(browser: Browser, served: tuple[Working, str]) -> None:
    working, address = served
    context = browser.new_context(base_url=address, java_script_enabled=False)
    plain = context.new_page()
    plain.goto("/signin/link?token=" + one_time_link(working.console, person("ana")).partition("token=")[2])
    plain.get_by_role("button", name="Sign in").click()
    plain.goto("/try")
    plain.get_by_label("Statement", exact=True).fill("SELECT email FROM customers")
    plain.get_by_role("button", name="Try it").click()
    expect(plain.get_by_text("Would run", exact=True)).to_be_visible()
    expect(plain.locator("mark", has_text="email")).to_have_class(re.compile("is-masked"))
    context.close()
