"""One thin module a framework: its own tool objects, with what they run behind the guard. No policy and no SQL here."""
