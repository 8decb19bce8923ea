"""The main job, shown: a shop, three agents, every kind of statement, and a ledger that tells when it was changed."""
