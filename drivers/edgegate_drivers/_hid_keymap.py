"""What a scanner that acts as a keyboard types: key codes to characters, by keyboard layout.

Key codes are those of Linux (include/uapi/linux/input-event-codes.h), which name positions, not
letters. The layouts are the Windows ones of the same names, since scanners imitate those.
"""

import unicodedata
from typing import Final, Literal

Layout = Literal["us", "gb", "de", "fr"]

ENTER: Final = 28
KEYPAD_ENTER: Final = 96
ENDS: Final = frozenset({ENTER, KEYPAD_ENTER})

_TAB = 15
_SPACE = 57
_LEFT_CONTROL = 29
_LEFT_ALT = 56
_RIGHT_ALT = 100
_CAPS_LOCK = 58
_SHIFTS = frozenset({42, 54})
_COMMANDS = frozenset({_LEFT_CONTROL, 97, _LEFT_ALT, 125, 126})
_MODIFIERS = _SHIFTS | _COMMANDS | {_RIGHT_ALT}
_SILENT = frozenset({69, 70})
"""Num Lock and Scroll Lock; the keypad is taken to type digits always."""

_KEYS = (*range(2, 14), *range(16, 28), *range(30, 42), 43, *range(44, 54), 86)
"""The positions that the strings below follow: 1 to =, q to ], a to `, \\, z to /, and the key
between the left Shift and Z."""

_KEYPAD = dict(zip((*range(71, 84), 55, 98), "789-456+1230.*/", strict=True))

_SPACING = {"\u0300": "`", "\u0301": "\u00b4", "\u0302": "^", "\u0303": "~", "\u0308": "¨"}
"""Combining marks stand for dead keys in the tables; this is what they type on their own."""

# Per layout: without modifiers, with Shift, with AltGr. A space means: no character.
_LEVELS: dict[Layout, tuple[str, str, str]] = {
    "us": (
        "1234567890-=qwertyuiop[]asdfghjkl;'`\\zxcvbnm,./\\",
        '!@#$%^&*()_+QWERTYUIOP{}ASDFGHJKL:"~|ZXCVBNM<>?|',
        " " * 48,
    ),
    "gb": (
        "1234567890-=qwertyuiop[]asdfghjkl;'`#zxcvbnm,./\\",
        '!"£$%^&*()_+QWERTYUIOP{}ASDFGHJKL:@¬~ZXCVBNM<>?|',
        "   €          é   úíó   á          ¦            ",
    ),
    "de": (
        "1234567890ß\u0301qwertzuiopü+asdfghjklöä\u0302#yxcvbnm,.-<",
        "!\"§$%&/()=?\u0300QWERTZUIOPÜ*ASDFGHJKLÖÄ°'YXCVBNM;:_>",
        " ²³   {[]}\\ @ €        ~                   µ   |",
    ),
    "fr": (
        "&é\"'(-è_çà)=azertyuiop\u0302$qsdfghjklmù²*wxcvbn,;:!<",
        "1234567890°+AZERTYUIOP\u0308£QSDFGHJKLM% µWXCVBN?./§>",
        " \u0303#{[|\u0300\\^@]}  €        ¤                        ",
    ),
}


def _table(level: str) -> dict[int, str]:
    return {key: character for key, character in zip(_KEYS, level, strict=True) if character != " "}


_TABLES = {layout: tuple(map(_table, levels)) for layout, levels in _LEVELS.items()}


class KeyDecoder:
    """Turns presses and releases into characters, as a computer with that layout would."""

    def __init__(self, layout: Layout) -> None:
        self._plain, self._shifted, self._alternate = _TABLES[layout]
        self._held: set[int] = set()
        self._caps = False
        self._dead = ""

    def press(self, key: int) -> str | None:
        """What the press types: "" for a modifier or dead key, None for no character at all."""
        if key in _MODIFIERS:
            self._held.add(key)
            return ""
        if key == _CAPS_LOCK:
            self._caps = not self._caps
            return ""
        if key in _SILENT:
            return ""
        character = self._character(key)
        return None if character is None else self._compose(character)

    def release(self, key: int) -> None:
        """Only the release of a modifier matters."""
        self._held.discard(key)

    def reset(self) -> None:
        """Hold nothing, as a scanner does between two codes."""
        self._held.clear()
        self._caps = False
        self._dead = ""

    def flush(self) -> str:
        """The character of a dead key that nothing followed; a code ends here."""
        dead, self._dead = self._dead, ""
        return _SPACING.get(dead, "")

    def _character(self, key: int) -> str | None:
        # Windows takes Ctrl and Alt together for AltGr, and so do some scanners.
        if _RIGHT_ALT in self._held or self._held >= {_LEFT_CONTROL, _LEFT_ALT}:
            return self._alternate.get(key)
        if self._held & _COMMANDS:
            return None
        if key in _KEYPAD:
            return _KEYPAD[key]
        if key in {_SPACE, _TAB}:
            return " " if key == _SPACE else "\t"
        plain, shifted = self._plain.get(key), self._shifted.get(key)
        is_letter = plain is not None and plain.isalpha() and plain.upper() == shifted
        capital = bool(self._held & _SHIFTS) != (self._caps and is_letter)
        return shifted if capital else plain

    def _compose(self, character: str) -> str:
        """Join a dead key with what follows it: e makes ê, a space the accent itself."""
        dead = self._dead
        self._dead = ""
        if not dead:
            if character in _SPACING:
                self._dead = character
                return ""
            return character
        if character == " ":
            return _SPACING[dead]
        composed = unicodedata.normalize("NFC", character + dead)
        if character not in _SPACING and len(composed) == 1:
            return composed
        return _SPACING[dead] + _SPACING.get(character, character)
