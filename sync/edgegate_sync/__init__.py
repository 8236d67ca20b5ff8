"""Sync between an appliance and its cloud."""
