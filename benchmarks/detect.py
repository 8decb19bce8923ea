"""Speed of the detectors in megabytes a second, and as a ratio to one plain search for e-mail addresses with `re`.

Run: ``python -m benchmarks.detect``. Ratios can be compared between machines; megabytes a second cannot.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from guardrails.masking import find, scan_rows
from tests.support.personal_data import samples

_PLAIN = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}")
_SEED = 20_261_123
_ROUNDS = 5


def _best_s(run: Callable[[], object]) -> float:
    taken = []
    for _ in range(_ROUNDS):
        begun = time.perf_counter()
        run()
        taken.append(time.perf_counter() - begun)
    return min(taken)


def main() -> None:
    """Prints one line for each kind of text."""
    made = list(samples(_SEED, 6_000))
    words = [" ".join(word for word in sample.text.split() if word.isalpha()) for sample in made]
    harmless = [sample.text for sample in made if not sample.spans]
    dense = [sample.text for sample in made if sample.spans]
    print(f"{'text':<28}{'MB/s':>8}{'re e-mail MB/s':>16}{'ratio':>8}")
    for name, cells in (
        ("cells, words only", words),
        ("cells, harmless numbers", harmless),
        ("cells, dense", dense),
        ("one text, words only", ["\n".join(words)]),
        ("one text, harmless numbers", ["\n".join(harmless)]),
        ("one text, dense", ["\n".join(dense)]),
    ):
        megabytes = sum(len(cell.encode()) for cell in cells) / 1e6
        ours = megabytes / _best_s(lambda cells=cells: [find(cell) for cell in cells])  # type: ignore[misc]
        plain = megabytes / _best_s(lambda cells=cells: [_PLAIN.findall(cell) for cell in cells])  # type: ignore[misc]
        print(f"{name:<28}{ours:>8.1f}{plain:>16.1f}{ours / plain:>8.2f}")
    rows = [(i, sample.text, 19.5, None) for i, sample in enumerate(made)]
    rows_s = _best_s(lambda: scan_rows(("id", "text", "price", "note"), rows))
    print(f"scan_rows: {len(rows) / rows_s:,.0f} rows/s with one text of {len(made[0].text)} characters or so a row")


if __name__ == "__main__":
    main()
