"""What the upstream servers offer at this moment: listed again when one of them tells of a change, or when it was long ago.

A server can change what it says at any time and tell nobody, so that no listing is proof of what the next call meets. What is proven is
that no client sees a definition, and no call is made, that differs from what was accepted as of the last listing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from guardrails.errors import EngineError
from guardrails.ledger import Ledger
from guardrails.mcp_gateway.config import GatewayConfig
from guardrails.mcp_gateway.definitions import Definition, DefinitionKey
from guardrails.mcp_gateway.lock import Acceptance, LockFile
from guardrails.mcp_gateway.offers import Offers, offers_of
from guardrails.mcp_gateway.upstream import Upstream

__all__ = ["Watch"]

SESSION_TYPE = "mcp.session"
"""Type of the ledger's entries that say what an upstream server listed, whenever that is not what it was before."""
_MOST_NAMED = 200


class Watch:
    """Keeps the offers of all upstreams. To be used on one event loop.

    Args:
        config: Of the gateway.
        upstreams: By name.
        lock: What was accepted.
        ledger: Where that is recorded, and where listings that are new are recorded.
        changed: Called when clients would see other offers than before.
    """

    def __init__(
        self,
        config: GatewayConfig,
        upstreams: Mapping[str, Upstream],
        lock: LockFile,
        ledger: Ledger,
        changed: Callable[[], Awaitable[None]],
    ) -> None:
        self._config = config
        self._upstreams = upstreams
        self._lock = lock
        self._ledger = ledger
        self._changed = changed
        self._listing = asyncio.Lock()
        self._listed_at = -1e9
        self._is_stale = True
        self._shown: frozenset[tuple[str, str, str]] | None = None
        self._told: dict[str, frozenset[str]] = {}
        self._listed: list[Definition] = []
        self._recorded: set[tuple[int, DefinitionKey, str]] = set()
        self._telling: set[asyncio.Task[None]] = set()

    def heard(self) -> None:
        """An upstream says that something has changed: it is looked at now, and the clients are told if it concerns them."""
        self._is_stale = True
        telling = asyncio.get_running_loop().create_task(self._look())
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)

    async def close(self) -> None:
        """Ends what is still being looked at."""
        for telling in list(self._telling):
            telling.cancel()
        await asyncio.gather(*self._telling, return_exceptions=True)

    async def offers(self, *, is_new: bool = False) -> Offers:
        """Returns the offers.

        Args:
            is_new: List them now; otherwise a listing does that is recent and not known to be over.

        Raises:
            UsageError: The lock file cannot be read.
            LedgerError: A new listing could not be recorded.
        """
        async with self._listing:
            is_over = self._is_stale or time.monotonic() - self._listed_at > self._config.recheck
            if is_new or is_over:
                self._is_stale = False
                self._listed = await self._list()
                self._listed_at = time.monotonic()
            # What was accepted counts as of now, whenever the upstreams were listed.
            found = await asyncio.to_thread(self._judged)
        await self._tell(found)
        return found

    def _judged(self) -> Offers:
        return offers_of(self._config, self._listed, self._lock.accepted(), self._is_recorded)

    def _is_recorded(self, acceptance: Acceptance) -> bool:
        known = (acceptance.entry, acceptance.definition.key, acceptance.definition.digest)
        if known not in self._recorded:
            if not acceptance.is_recorded(self._ledger):
                return False
            # An entry never changes.
            self._recorded.add(known)
        return True

    async def _look(self) -> None:
        await self.offers(is_new=True)

    async def _tell(self, offers: Offers) -> None:
        before, self._shown = self._shown, offers.digest
        if before is not None and before != self._shown:
            await self._changed()

    async def _list(self) -> list[Definition]:
        lists = await asyncio.gather(*map(self._list_one, self._upstreams.values()))
        return [definition for listed in lists for definition in listed]

    async def _list_one(self, upstream: Upstream) -> list[Definition]:
        try:
            listed = list((await upstream.definitions()).values())
        except EngineError:
            # A server that is down offers nothing; the others go on.
            return []
        await self._record(upstream, listed)
        return listed

    async def _record(self, upstream: Upstream, listed: list[Definition]) -> None:
        """Records what a server lists, before anything of it is called, whenever that is new."""
        seen = frozenset(definition.digest for definition in listed) | {upstream.server}
        if self._told.get(upstream.name) == seen:
            return
        named = [{"kind": d.key.kind, "name": d.key.name[:200], "definition": d.digest} for d in listed[:_MOST_NAMED]]
        entry = {"type": SESSION_TYPE, "upstream": upstream.name, "server": upstream.server[:200], "listed": named}
        await asyncio.to_thread(self._ledger.append, entry | {"count": len(listed)})
        self._told[upstream.name] = seen
