"""All tables of the cloud: importing this fills `metadata` with those of every module."""

from edgegate_sync.cloud import csv_import_tables, ledger_tables, tables, webhook_tables
from edgegate_sync.cloud.metadata import metadata

MODULES = (tables, ledger_tables, csv_import_tables, webhook_tables)

__all__ = ["MODULES", "metadata"]
