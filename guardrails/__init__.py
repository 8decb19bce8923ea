"""Understands, judges, masks, approves, runs and records every SQL statement that an agent writes."""
