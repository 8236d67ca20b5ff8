"""The doors: what a door is (a pure state machine) and what drives it (a runner)."""
