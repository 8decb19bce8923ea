"""The table of pages that every page lists."""

from __future__ import annotations

from dataclasses import dataclass

from guardrails.console.viewer import Role, Viewer

__all__ = ["NavigationItem"]


@dataclass(frozen=True, slots=True)
class NavigationItem:
    """A link to a page.

    Args:
        path: Of the page; it is marked as the current one on all pages below it.
        label: What the link says.
        roles: Who sees the link: one of these roles is enough.
        order: Smaller ones come first.
        counts: Name of the number beside the link, as `/counts` knows it; empty for none.
    """

    path: str
    label: str
    roles: tuple[Role, ...] = ("viewer",)
    order: int = 100
    counts: str = ""

    def is_for(self, viewer: Viewer) -> bool:
        """Tells whether a viewer sees the link."""
        return bool(viewer.roles.intersection(self.roles))

    def is_current(self, path: str) -> bool:
        """Tells whether a page is this one or below it."""
        return path == self.path or path.startswith(self.path.rstrip("/") + "/")
