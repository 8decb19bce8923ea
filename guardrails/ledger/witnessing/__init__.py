"""Witnesses of C2SP tlog-witness: the small one that is part of this package, the client that asks several, and the quorum."""
