"""What an administrator imports and deposits at the cloud's own machine, without the API."""

import asyncio
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec

from edgegate_sync.cloud import csv_import, demo_data
from edgegate_sync.cloud.cloud import Settings, opened
from edgegate_sync.cloud.csv_import import ImportOptions, ImportReport
from edgegate_sync.cloud.csv_import_api import SITE_KEY_BYTES_MAX, keep_site_key, site_key
from edgegate_sync.cloud.csv_import_files import CsvFile, Encoding
from edgegate_sync.cloud.desk import ensure_site
from edgegate_sync.cloud.feed import standing


async def import_paths(
    settings: Settings, site: str, paths: Iterable[str], encoding: str, options: ImportOptions
) -> ImportReport:
    """Import files of this machine, each as PATH or TABLE=PATH.

    Raises:
        FileNotFoundError: if one is not there.
        SiteUnknownError: if there is no such site.
    """
    known = msgspec.convert(encoding, Encoding)
    files = [await asyncio.to_thread(_file, text, known) for text in paths]
    async with opened(settings) as cloud:
        key = await site_key(cloud.database, cloud.vault, site)
        return await csv_import.run(cloud.database, site, files, options, key)


async def deposit(settings: Settings, site: str, path: Path) -> str:
    """Keep a site's key, as its devices have it in a file; its fingerprint.

    Raises:
        SiteUnknownError: if there is no such site.
        ValueError: if the file holds no key.
    """
    key = await asyncio.to_thread(read_key, path)
    async with opened(settings) as cloud:
        async with cloud.database.reading() as connection:
            await standing(connection, site)
        async with cloud.database.writing() as writing:
            return await keep_site_key(writing, cloud.vault, site, key)


async def make_demo(settings: Settings, site: str, key_path: Path | None) -> int:
    """Put the demo space into a site, made if it is not there; how many records changed."""
    key = None if key_path is None else await asyncio.to_thread(read_key, key_path)
    async with opened(settings) as cloud:
        async with cloud.database.writing() as writing:
            await ensure_site(writing, cloud.keys, site)
            if key is not None:
                await keep_site_key(writing, cloud.vault, site, key)
        return await demo_data.write(cloud.database, site, key, datetime.now(UTC))


def read_key(path: Path) -> bytes:
    """A site's key out of the file that its devices have, read as `edgegate.secret` does."""
    value = path.read_bytes()[: SITE_KEY_BYTES_MAX + 1]
    text = value.removesuffix(b"\n").removesuffix(b"\r")
    return text if text.isascii() and text.decode().isprintable() else value


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from file


def _file(text: str, encoding: Encoding) -> CsvFile:
    table, _, name = text.rpartition("=")
    path = Path(name)
    if not path.exists():
        # A path may have the character itself.
        table, path = "", Path(text)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {text}")
    return CsvFile(name=path.name, open=partial(_lines, path), table=table, encoding=encoding)
