"""The reference cloud."""
