"""A log as static files that anyone can follow: published, served, watched, mirrored and archived (C2SP tlog-tiles)."""

from guardrails.ledger.publishing.archive import Archived, ArchivedSource, ArchiveReader, archive_bundles
from guardrails.ledger.publishing.client import TileClient, mirror
from guardrails.ledger.publishing.directory import DirectoryTarget
from guardrails.ledger.publishing.exporter import Published, publish
from guardrails.ledger.publishing.monitor import Observed, monitor
from guardrails.ledger.publishing.objects import ObjectTarget
from guardrails.ledger.publishing.places import open_reader, open_target
from guardrails.ledger.publishing.server import LogServer
from guardrails.ledger.publishing.source import LogSource, Reader, SourceReader, Target
from guardrails.ledger.publishing.web import WebReader

__all__ = [
    "ArchiveReader",
    "Archived",
    "ArchivedSource",
    "DirectoryTarget",
    "LogServer",
    "LogSource",
    "ObjectTarget",
    "Observed",
    "Published",
    "Reader",
    "SourceReader",
    "Target",
    "TileClient",
    "WebReader",
    "archive_bundles",
    "mirror",
    "monitor",
    "open_reader",
    "open_target",
    "publish",
]
