"""The admin API's description, as JSON and as a page that needs nothing from elsewhere."""

import html
from collections.abc import Iterator
from functools import cache

from aiohttp import web

from edgegate_sync.cloud.operations import ADMIN_DOCUMENT
from edgegate_sync.wire.errors import encode
from edgegate_sync.wire.openapi import describe
from edgegate_sync.wire.operations import Operation

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "code{background:#8882;padding:.1em .3em;border-radius:.2em}details{margin:.4rem 0}"
    "summary{cursor:pointer}table{border-collapse:collapse}td,th{text-align:left;padding:.1rem"
    " 1rem .1rem 0;vertical-align:top}:root{color-scheme:light dark}"
)
HEADERS = {
    # The page has no script, and the one style that stands in it.
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


@cache
def description() -> bytes:
    """The OpenAPI document."""
    return encode(describe(ADMIN_DOCUMENT))


@cache
def page() -> str:
    """The same for people."""
    return "".join(_page())


async def get_description(_request: web.Request) -> web.Response:
    """Answer with the OpenAPI document."""
    return web.Response(body=description(), content_type="application/json")


async def get_page(_request: web.Request) -> web.Response:
    """Answer with the page."""
    return web.Response(text=page(), content_type="text/html", headers=HEADERS)


def _page() -> Iterator[str]:
    title = html.escape(ADMIN_DOCUMENT.title)
    yield f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
    yield f"<style>{STYLE}</style><h1>{title}</h1><p>{_text(ADMIN_DOCUMENT.says)}</p>"
    yield '<p>For programs: <a href="openapi.json">openapi.json</a></p>'
    for tag, says in ADMIN_DOCUMENT.tags.items():
        yield f"<h2>{html.escape(tag)}</h2><p>{_text(says)}</p>"
        for operation in ADMIN_DOCUMENT.operations:
            if operation.tag == tag:
                yield from _operation(operation)


def _operation(operation: Operation) -> Iterator[str]:
    path = html.escape(operation.path)
    yield f"<details><summary><code>{operation.method} {path}</code> {_text(operation.says)}"
    yield f"</summary><p>Scope <code>{operation.scope}</code>. {_text(operation.more)}</p><table>"
    for parameter in operation.parameters:
        yield f"<tr><td><code>{html.escape(parameter.name)}</code><td>{_text(parameter.says)}"
    for status, answer in operation.answers.items():
        yield f"<tr><td>{int(status)}<td>{_text(answer.says)}"
    for status, says in operation.all_problems.items():
        yield f"<tr><td>{int(status)}<td>{_text(says)}"
    yield "</table></details>"


def _text(markdown: str) -> str:
    """A sentence with its code marked; nothing else of Markdown is used in them."""
    parts = html.escape(markdown).split("`")
    return "".join(
        f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts)
    )
