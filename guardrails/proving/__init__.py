"""Proof by example that a policy hides what it protects: twin databases, generated statements, one comparison."""
