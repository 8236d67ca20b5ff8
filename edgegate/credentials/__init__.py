"""Credentials: canonical numbers and the keyed hashes they are stored under (pure)."""
