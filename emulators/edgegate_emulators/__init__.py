"""Readers, cards and doors that exist only as software; the demo and the tests wire them up."""
