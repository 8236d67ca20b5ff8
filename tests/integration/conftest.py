"""Fixtures for the daemon as a process: a place to run it at, and what systemd is for it."""

from fakes.robustness import manager, place

__all__ = ["manager", "place"]
