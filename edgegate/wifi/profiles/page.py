"""The slip that is printed and the page that is opened: one document each, with nothing outside.

All text is escaped here and nowhere else. The page names its files beside it: whoever serves it
puts them there.
"""

from collections.abc import Iterable, Iterator
from html import escape

import segno
from msgspec import Struct

from edgegate.wifi.profiles.handout import OUTER_IDENTITY, Login, Network, wifi_text
from edgegate.wifi.profiles.style import STYLE
from edgegate.wifi.profiles.words import LANGUAGES, Words, words_of

APPLE_FILE = "wifi.mobileconfig"
GETEDUROAM_FILE = "wifi.eap-config"
CERTIFICATE_FILE = "wifi-ca.crt"

URL_CHARACTERS_MAX = 500
"""A longer one makes a code that no camera reads from paper."""


class Handout(Struct, frozen=True, kw_only=True):
    """What one member is handed."""

    network: Network
    login: Login
    language: str = "en"
    url: str = ""
    """Where the page is, if it is anywhere."""

    @property
    def words(self) -> Words:
        """The words of the member's language."""
        return words_of(self.language)

    @property
    def tag(self) -> str:
        """The language that the words are in."""
        tag = self.language.partition("-")[0].lower()
        return tag if tag in LANGUAGES else "en"

    def say(self, template: str, file: str = "") -> str:
        """A sentence with its fields filled, escaped."""
        return escape(self.plain(template, file))

    def plain(self, template: str, file: str = "") -> str:
        """The same as plain text."""
        network = self.network
        return template.replace("'", "\u2019").format(
            space=network.space,
            ssid=network.ssid,
            server=network.server_name,
            help=network.help or self.words.desk,
            file=file,
        )


def slip(handout: Handout) -> str:
    """What is printed: on paper nothing can be pressed."""
    words = handout.words
    parts = [_card(handout), _code(handout)]
    if not handout.url:
        parts.append(f'<p class="note">{handout.say(words.ask)}</p>')
    parts += [_by_hand(handout, CERTIFICATE_FILE), _private(handout)]
    return _document(handout, "slip", parts)


def page(handout: Handout) -> str:
    """What is opened on the device that is to come in."""
    words = handout.words
    parts = [
        _card(handout),
        f"<h2>{escape(words.device)}</h2>",
        _steps(handout, words.apple, words.apple_steps, words.apple_button, APPLE_FILE),
        _steps(handout, words.others, words.others_steps, words.others_button, GETEDUROAM_FILE),
        _by_hand(handout, _link(CERTIFICATE_FILE, words.certificate_button, "link")),
        _private(handout),
        f"<section><h3>{escape(words.trouble_title)}</h3>",
        _list("ul", (handout.say(sentence) for sentence in words.trouble)),
        "</section>",
    ]
    return _document(handout, "page", parts)


def code_text(handout: Handout) -> str:
    """What the printed code says: where the page is, or else the network itself."""
    return handout.url or wifi_text(handout.network, handout.login)


def _document(handout: Handout, kind: str, parts: Iterable[str]) -> str:
    title = handout.say(handout.words.title)
    return (
        f'<!doctype html>\n<html lang="{handout.tag}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n"
        f'<body class="{kind}">\n<main>\n<h1>{title}</h1>\n' + "\n".join(parts) + "\n</main>\n"
        "</body>\n</html>\n"
    )


def _card(handout: Handout) -> str:
    words, login = handout.words, handout.login
    rows = (
        (words.network, handout.network.ssid),
        (words.login, login.name),
        (words.password, login.password),
    )
    shown = "".join(f"<dt>{escape(name)}</dt><dd>{_typed(value)}</dd>" for name, value in rows)
    return f'<dl class="card">{shown}</dl>\n<p class="note">{handout.say(words.keep)}</p>'


def _code(handout: Handout) -> str:
    words = handout.words
    code = segno.make(code_text(handout), error="m", micro=False)
    drawing = code.svg_inline(border=4, omitsize=True, dark="#000", light="#fff")
    told = words.scan_page if handout.url else words.scan_wifi
    where = f"<br><b>{_typed(handout.url)}</b>" if handout.url else ""
    return f"<figure>{drawing}<figcaption>{handout.say(told)}{where}</figcaption></figure>"


def _steps(handout: Handout, title: str, steps: tuple[str, ...], button: str, file: str) -> str:
    said = _list("ol", (handout.say(step, file) for step in steps))
    link = _link(file, button, "button")
    return f"<section><h3>{escape(title)}</h3>{link}{said}</section>"


def _by_hand(handout: Handout, certificate: str) -> str:
    """What to type; `certificate` is HTML already."""
    words = handout.words
    rows: list[tuple[str, str]] = [(name, escape(value)) for name, value in words.hand_rows]
    rows += [
        (words.certificate, certificate),
        (words.domain, _typed(handout.network.server_name)),
        (words.identity, _typed(handout.login.name)),
        (words.anonymous, _typed(OUTER_IDENTITY)),
        (words.password, _typed(handout.login.password)),
    ]
    cells = "".join(f"<tr><th>{escape(name)}</th><td>{value}</td></tr>" for name, value in rows)
    return f"<section><h3>{escape(words.hand)}</h3><table>{cells}</table></section>"


def _private(handout: Handout) -> str:
    words = handout.words
    return (
        f"<section><h3>{escape(words.private_title)}</h3><p>{escape(words.private)}</p></section>"
    )


def _link(file: str, text: str, kind: str) -> str:
    return f'<a class="{kind}" href="{escape(file)}" download>{escape(text)}</a>'


def _list(tag: str, items: Iterator[str]) -> str:
    return f"<{tag}>{''.join(f'<li>{item}</li>' for item in items)}</{tag}>"


def _typed(text: str) -> str:
    """What has to be typed as it stands: letters of one width, broken only at its dashes."""
    return f"<code>{escape(text).replace('-', '-<wbr>')}</code>"
