"""The law of passes: pure functions from facts and one instant to a decision.

Nothing in here reads a clock, a file or a setting; `docs/pass-rules.md` says in words what it does.
"""
