"""The revisions, in files named <what>_<number>."""
