"""Makes the pictures of the console in docs/console: every page over the seeded shop, light, dark and on a phone.

PYTHONPATH=. python tools/screenshots.py [--only inbox …] [--into FOLDER]
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright
from small_png import small_png

from guardrails.console import Console
from tests.support.console_demo import BO, KIM, LEA, ConsoleDemo, open_demo, serve

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "console"
CHROMIUM = "/usr/bin/chromium"
PEOPLE = {"bo": BO, "lea": LEA, "kim": KIM}


@dataclass(frozen=True)
class Shot:
    """A picture: of which page, as whom; `{name}` in the path is the id of a request of the demo.

    `typed` goes into fields first, and then the button with the name `pressed` is pressed.
    """

    name: str
    path: str
    who: str = "lea"
    height: int = 800
    wait_for: str = "main h1"
    looks: tuple[str, ...] = ("light",)
    typed: tuple[tuple[str, str], ...] = ()
    pressed: str = ""


TRIED = (
    (
        "#sql",
        "WITH paid AS (\n  SELECT o.customer_id, c.email AS address, c.ssn\n"
        "  FROM orders AS o JOIN customers AS c ON c.id = o.customer_id\n  WHERE o.status = 'paid'\n)\n"
        "SELECT address, ssn FROM paid ORDER BY address",
    ),
    ("#id", "ana@example.com"),
    ("#groups", "support"),
)
"""What the dry run is shown with."""

SHOTS = (
    Shot("inbox", "/inbox", looks=("light", "dark", "phone")),
    Shot("request", "/requests/{quorum}", height=1160, wait_for="ins.after", looks=("light", "dark", "phone")),
    Shot("request-unmask", "/requests/{unmask}"),
    Shot("request-for-others", "/requests/{refund}", who="kim"),
    Shot("windows", "/windows"),
    Shot("reviews", "/reviews"),
    Shot("review", "/reviews/{review}"),
    Shot("live", "/live", looks=("light", "dark")),
    Shot("sessions", "/sessions", who="kim"),
    Shot("session", "/sessions/{session}", who="kim", height=1160, wait_for="[data-verdict][data-state=good]"),
    Shot(
        "session-values",
        "/sessions/{session}",
        who="kim",
        height=1500,
        typed=(("#reason", "Complaint 17"),),
        pressed="Show kept values",
    ),
    Shot("ledger", "/ledger", who="kim", wait_for="[data-verdict][data-state=good]"),
    Shot("entry", "/ledger/3", who="kim", wait_for="[data-verdict][data-state=good]"),
    Shot("statistics", "/statistics?period=day", who="kim", height=1160, looks=("light", "dark")),
    Shot("policy", "/policy", who="kim"),
    Shot("dry-run", "/try", who="kim", wait_for=".coloured", typed=TRIED, pressed="Try it"),
)
"""Every picture; pages that other modules add are added here."""

LOOKS: Mapping[str, dict[str, object]] = {
    "light": {"color_scheme": "light", "viewport": {"width": 1200, "height": 800}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1200, "height": 800}},
    "phone": {"color_scheme": "light", "viewport": {"width": 360, "height": 720}, "has_touch": True, "is_mobile": True},
}


@contextmanager
def running() -> Iterator[tuple[ConsoleDemo, str]]:
    """Serves the demo; yields it and its address."""
    with ExitStack() as stack:
        stack.enter_context(contextlib.chdir(stack.enter_context(tempfile.TemporaryDirectory())))
        opened: list[ConsoleDemo] = []

        def make(address: str) -> Console:
            # From within the folder, so that no picture shows where it was.
            opened.append(stack.enter_context(open_demo(Path(), base_url=address)))
            return opened[0].console

        with serve(make) as address:
            yield opened[0], address


def main() -> None:
    """Takes the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", help="names of pictures; all by default")
    parser.add_argument("--looks", nargs="*", choices=list(LOOKS), help="all in these; by default each in those that it names")
    parser.add_argument("--into", type=Path, default=FOLDER)
    options = parser.parse_args()
    options.into.mkdir(parents=True, exist_ok=True)
    wanted = [shot for shot in SHOTS if not options.only or shot.name in options.only]
    with running() as (demo, address), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        for look in options.looks or LOOKS:
            shots = [shot for shot in wanted if options.looks or look in shot.looks]
            _shoot_all(browser, demo, address, look, shots, options.into)
        browser.close()


def _shoot_all(browser: Browser, demo: ConsoleDemo, address: str, look: str, shots: list[Shot], into: Path) -> None:
    for who in dict.fromkeys(shot.who for shot in shots):
        context = browser.new_context(**LOOKS[look], reduced_motion="reduce")  # type: ignore[arg-type]
        page = context.new_page()
        page.on("console", lambda message: message.type == "error" and print(f"  console: {message.text} {message.location}"))
        page.goto(demo.link(PEOPLE[who]))
        if who == "lea" and look == "light":
            _take(page, into / f"signin{_suffix(look)}.png")
        page.get_by_role("button", name="Sign in").click()
        if who == "kim":
            # On the first visit a browser learns the log's key; from then on it holds the ledger against what it knows.
            page.goto(f"{address}/ledger")
            page.locator("[data-verdict]:not([data-state=waiting])").first.wait_for()
        for shot in shots:
            if shot.who == who:
                page.set_viewport_size(
                    {"width": page.viewport_size["width"], "height": shot.height if look != "phone" else 720}
                )
                page.goto(address + shot.path.format(**demo.requests))
                for field, text in shot.typed:
                    page.fill(field, text)
                if shot.pressed:
                    page.get_by_role("button", name=shot.pressed).click()
                page.locator(shot.wait_for).first.wait_for()
                _take(page, into / f"{shot.name}{_suffix(look)}.png")
        context.close()


def _suffix(look: str) -> str:
    return "" if look == "light" else f"-{look}"


def _take(page: Page, path: Path) -> None:
    page.wait_for_timeout(350)  # htmx fills the parts that load on their own
    path.write_bytes(small_png(page.screenshot()))
    overflow = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    print(f"{path.name}: {path.stat().st_size // 1024} kB{f', {overflow} px too wide' if overflow > 0 else ''}")


if __name__ == "__main__":
    main()
