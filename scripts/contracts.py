#!/usr/bin/env python3
"""Makes the published contracts out of the types: sync/openapi*.yaml and sync/asyncapi.yaml.

Without an argument it writes them; with `--check` it only compares, prints what differs, and exits
1 if anything does.
"""

import argparse
import difflib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from edgegate_sync.wire.channels import describe_channels
from edgegate_sync.wire.openapi import describe, device_document
from edgegate_sync.wire.operations import DEVICE_OPERATIONS

TOP = Path(__file__).resolve().parent.parent
HEAD = """\
# Made by scripts/contracts.py from {source}; do not edit.
# `scripts/contracts.py --check`, which the tests run, fails where this is out of date.
"""
ADMIN_MODULE = "edgegate_sync.cloud.operations"
"""Exports `ADMIN_DOCUMENT`, the admin API."""


def contracts() -> Iterator[tuple[str, str]]:
    """Every contract: its path in the tree, and its text."""
    source = "the tables in sync/edgegate_sync/wire"
    yield "sync/openapi.yaml", text_of(describe(device_document(DEVICE_OPERATIONS)), source)
    if importlib.util.find_spec(ADMIN_MODULE) is not None:
        admin = importlib.import_module(ADMIN_MODULE).ADMIN_DOCUMENT
        yield "sync/openapi-admin.yaml", text_of(describe(admin), ADMIN_MODULE)
    yield "sync/asyncapi.yaml", text_of(describe_channels(), source)


class _Dumper(yaml.SafeDumper):
    """Writes for readers: elements are indented, and what comes twice is written twice."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the base class's signature
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 - the same
        return super().increase_indent(flow, False)


def text_of(document: dict[str, Any], source: str) -> str:
    """A document as YAML, in the order in which it was made."""
    body = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return HEAD.format(source=source) + "\n" + body


def main(arguments: list[str] | None = None) -> int:
    """Write or check the contracts; the result is the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing, only compare")
    parser.add_argument("--top", type=Path, default=TOP, help="the tree to look at")
    options = parser.parse_args(arguments)
    is_current = True
    for name, text in contracts():
        file = options.top / name
        if not options.check:
            file.write_text(text, encoding="utf-8")
            continue
        found = file.read_text(encoding="utf-8") if file.exists() else ""
        if found != text:
            is_current = False
            lines = (found.splitlines(), text.splitlines())
            print(*difflib.unified_diff(*lines, name, f"{name} as it should be"), sep="\n")
    if not is_current:
        print("out of date: run scripts/contracts.py", file=sys.stderr)
    return 0 if is_current else 1


if __name__ == "__main__":
    sys.exit(main())
