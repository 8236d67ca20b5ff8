"""Keyboard scanners: layouts, and the driver on evdev devices made of pipes."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from evdev import ecodes

from edgegate.passes.model import CredentialKind
from edgegate.ports import DeviceAbsentError, DeviceBusyError, DeviceFaultError, Scan
from edgegate_drivers import _hid_keymap, scanner_hid
from edgegate_drivers._codes import CodeScanner
from edgegate_drivers._hid_keymap import KeyDecoder, Layout
from edgegate_drivers._reader import QueuedReader
from edgegate_drivers.scanner_hid import Settings, open_reader
from fakes.fake_evdev import BUFFER_EVENTS_MAX, FakeInputs, FakeKeyboard
from fakes.held_resources import held_resources

SHIFT = (ecodes.KEY_LEFTSHIFT,)
ALT_GR = (ecodes.KEY_RIGHTALT,)
PATIENCE_S = 20
LAYOUTS: tuple[Layout, ...] = ("us", "gb", "de", "fr")


def typed(layout: Layout, *strokes: tuple[tuple[int, ...], int]) -> str:
    """What presses of (held, key) type; "?!" for one that types nothing at all."""
    decoder = KeyDecoder(layout)
    text = ""
    for held, key in strokes:
        for modifier in held:
            decoder.press(modifier)
        character = decoder.press(key)
        text += "?!" if character is None else character
        for pressed in (key, *held):
            decoder.release(pressed)
    return text + decoder.flush()


@pytest.mark.parametrize(
    ("layout", "strokes", "text"),
    [
        ("us", [((), ecodes.KEY_Y), (SHIFT, ecodes.KEY_2), ((), ecodes.KEY_SLASH)], "y@/"),
        ("us", [(SHIFT, ecodes.KEY_SEMICOLON), (SHIFT, ecodes.KEY_APOSTROPHE)], ':"'),
        ("gb", [(SHIFT, ecodes.KEY_2), (SHIFT, ecodes.KEY_3), ((), ecodes.KEY_102ND)], '"£\\'),
        ("gb", [((), ecodes.KEY_BACKSLASH), (SHIFT, ecodes.KEY_APOSTROPHE)], "#@"),
        ("de", [((), ecodes.KEY_Y), ((), ecodes.KEY_Z), (SHIFT, ecodes.KEY_7)], "zy/"),
        ("de", [(ALT_GR, ecodes.KEY_Q), (ALT_GR, ecodes.KEY_E), ((), ecodes.KEY_MINUS)], "@€ß"),
        ("de", [(SHIFT, ecodes.KEY_DOT), ((), ecodes.KEY_SLASH), (SHIFT, ecodes.KEY_0)], ":-="),
        ("fr", [((), ecodes.KEY_Q), ((), ecodes.KEY_1), (SHIFT, ecodes.KEY_1)], "a&1"),
        ("fr", [((), ecodes.KEY_SEMICOLON), (SHIFT, ecodes.KEY_M), (ALT_GR, 11)], "m?@"),
        ("fr", [((), ecodes.KEY_DOT), (SHIFT, ecodes.KEY_DOT), (SHIFT, ecodes.KEY_COMMA)], ":/."),
    ],
)
def test_layouts_as_printed_on_their_keyboards(
    layout: Layout, strokes: list[tuple[tuple[int, ...], int]], text: str
) -> None:
    assert typed(layout, *strokes) == text


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_printable_ascii_character_can_be_typed_once_and_no_key_is_silent(
    layout: Layout,
) -> None:
    characters = set()
    for held in ((), SHIFT, ALT_GR):
        for key in range(256):
            if key in _hid_keymap._MODIFIERS | {ecodes.KEY_CAPSLOCK}:
                continue
            characters.add(typed(layout, (held, key)))
    assert {chr(code) for code in range(32, 127)} <= characters


def test_key_numbers_are_the_kernels() -> None:
    assert (scanner_hid.EV_SYN, scanner_hid.EV_KEY) == (ecodes.EV_SYN, ecodes.EV_KEY)
    assert scanner_hid.SYN_REPORT == ecodes.SYN_REPORT
    assert scanner_hid.SYN_DROPPED == ecodes.SYN_DROPPED
    assert {ecodes.KEY_ENTER, ecodes.KEY_KPENTER} == _hid_keymap.ENDS
    assert _hid_keymap._KEYS[0] == ecodes.KEY_1
    assert _hid_keymap._KEYS[-1] == ecodes.KEY_102ND


def test_caps_lock_changes_letters_only_and_shift_undoes_it() -> None:
    decoder = KeyDecoder("fr")
    decoder.press(ecodes.KEY_CAPSLOCK)
    keys = (ecodes.KEY_B, ecodes.KEY_1, ecodes.KEY_APOSTROPHE)
    assert [decoder.press(key) for key in keys] == ["B", "&", "ù"]
    decoder.press(ecodes.KEY_RIGHTSHIFT)
    assert decoder.press(ecodes.KEY_B) == "b"
    decoder.release(ecodes.KEY_RIGHTSHIFT)
    decoder.press(ecodes.KEY_CAPSLOCK)
    assert decoder.press(ecodes.KEY_B) == "b"


def test_dead_keys() -> None:
    circumflex = ((), ecodes.KEY_LEFTBRACE)
    assert typed("fr", circumflex, ((), ecodes.KEY_E)) == "ê"
    assert typed("fr", circumflex, ((), ecodes.KEY_SPACE)) == "^"
    assert typed("fr", circumflex, ((), ecodes.KEY_B)) == "^b"
    assert typed("fr", circumflex, circumflex) == "^^"
    assert typed("fr", circumflex) == "^"
    assert typed("fr", (ALT_GR, ecodes.KEY_9), ((), ecodes.KEY_E)) == "^e"


def test_control_and_alt_are_alt_gr_but_each_alone_types_nothing() -> None:
    both = (ecodes.KEY_LEFTCTRL, ecodes.KEY_LEFTALT)
    assert typed("de", (both, ecodes.KEY_Q)) == "@"
    assert typed("de", ((ecodes.KEY_LEFTCTRL,), ecodes.KEY_Q)) == "?!"
    assert typed("us", ((), ecodes.KEY_F5)) == "?!"


def test_keypad_types_digits() -> None:
    keys = [ecodes.KEY_KP7, ecodes.KEY_KP0, ecodes.KEY_KPDOT, ecodes.KEY_KPSLASH]
    assert typed("fr", *(((), key) for key in keys)) == "70./"


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeInputs:
    made = FakeInputs(tmp_path)
    made.install(monkeypatch)
    return made


class Bench:
    """An open scanner with its keyboard."""

    def __init__(self, keyboard: FakeKeyboard, reader: QueuedReader) -> None:
        self.keyboard = keyboard
        self.reader = reader
        assert isinstance(reader, CodeScanner)
        self.code = reader.code
        self._scans = reader.scans()

    async def scan(self) -> Scan:
        return await asyncio.wait_for(anext(self._scans), PATIENCE_S)

    async def number(self) -> bytes:
        return (await self.scan()).number


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - the driver has no event to wait for here
            await asyncio.sleep(0.001)


@asynccontextmanager
async def opened(inputs: FakeInputs, **settings: Any) -> AsyncIterator[Bench]:
    keyboard = FakeKeyboard()
    path = inputs.plug(keyboard, "usb-Scan_Co-event-kbd")
    async with open_reader(Settings(path=path, **settings)) as reader:
        yield Bench(keyboard, reader)


A, B, C, ENTER = ecodes.KEY_A, ecodes.KEY_B, ecodes.KEY_C, ecodes.KEY_ENTER


async def test_code_ends_at_enter_of_either_kind(inputs: FakeInputs) -> None:
    async with opened(inputs, pause_ms=0) as bench:
        bench.keyboard.tap(A, ENTER, ENTER, B, ecodes.KEY_KPENTER)
        first = await bench.scan()
        assert (first.kind, first.number) == (CredentialKind.QR_STATIC, b"a")
        assert first.read_ns > 0
        assert await bench.number() == b"b"
        assert bench.reader.counts["scans"] == 2


async def test_code_ends_after_a_pause(inputs: FakeInputs) -> None:
    async with opened(inputs, pause_ms=20, kind=CredentialKind.PIN) as bench:
        bench.keyboard.tap(A, B)
        first = await bench.scan()
        assert (first.kind, first.number) == (CredentialKind.PIN, b"ab")
        bench.keyboard.tap(C)
        assert await bench.number() == b"c"


async def test_shift_and_layout_reach_the_code(inputs: FakeInputs) -> None:
    async with opened(inputs, layout="de", pause_ms=0) as bench:
        bench.keyboard.tap(ecodes.KEY_Y, held=SHIFT)
        bench.keyboard.tap(ecodes.KEY_7, held=SHIFT)
        bench.keyboard.tap(ecodes.KEY_MINUS, ecodes.KEY_GRAVE, ENTER)
        assert await bench.number() == "Z/ß^".encode()


async def test_auto_repeat_is_ignored(inputs: FakeInputs) -> None:
    async with opened(inputs, pause_ms=0) as bench:
        bench.keyboard.key(A, 1)
        for _ in range(3):
            bench.keyboard.key(A, 2)
        bench.keyboard.key(A, 0)
        bench.keyboard.key(ENTER, 1)
        bench.keyboard.key(ENTER, 2)
        assert await bench.number() == b"a"
        bench.keyboard.tap(B, ENTER)
        assert await bench.number() == b"b"


async def test_key_without_character_spoils_its_code_only(inputs: FakeInputs) -> None:
    async with opened(inputs, pause_ms=0) as bench:
        bench.keyboard.tap(A, ecodes.KEY_F5, B, ENTER, C, ENTER)
        assert await bench.number() == b"c"
        assert bench.reader.counts["malformed"] == 1


async def test_overlong_code_is_dropped_whole(inputs: FakeInputs) -> None:
    async with opened(inputs, pause_ms=0, length_max=3) as bench:
        for keys in ((A, A, A), (A, B), (ENTER,), (C, ENTER)):
            bench.keyboard.tap(*keys)
            await asyncio.sleep(0)
        assert await bench.number() == b"c"
        assert bench.reader.counts["overlong"] == 1


async def test_lost_events_cost_the_code_in_hand_and_no_other(inputs: FakeInputs) -> None:
    async with opened(inputs, pause_ms=0) as bench:
        bench.keyboard.key(ecodes.KEY_LEFTSHIFT, 1)
        bench.keyboard.tap(A)
        await until(lambda: bench.code.pending)
        # The release of Shift is among what is lost.
        bench.keyboard.key(ecodes.KEY_LEFTSHIFT, 0)
        bench.keyboard.tap(*[A] * BUFFER_EVENTS_MAX, B)
        bench.keyboard.tap(ENTER, C, ENTER)
        assert await bench.number() == b"c"
        assert bench.reader.counts["malformed"] == 1


async def test_what_stands_between_a_loss_and_its_report_is_not_typed(inputs: FakeInputs) -> None:
    async with opened(inputs, pause_ms=20) as bench:
        bench.keyboard.packet((ecodes.EV_SYN, ecodes.SYN_DROPPED, 0), (ecodes.EV_KEY, ENTER, 1))
        bench.keyboard.tap(A, ENTER, B, ENTER)
        assert await bench.number() == b"b"


async def test_pause_after_a_loss_starts_the_next_code_clean(inputs: FakeInputs) -> None:
    async with opened(inputs, pause_ms=20) as bench:
        bench.keyboard.tap(A)
        bench.keyboard.packet((ecodes.EV_SYN, ecodes.SYN_DROPPED, 0))
        await until(lambda: bench.reader.counts["malformed"] > 0)
        await until(lambda: not bench.code.pending)
        bench.keyboard.tap(B)
        assert await bench.number() == b"b"


async def test_scanner_is_grabbed_and_let_go(inputs: FakeInputs) -> None:
    keyboard = FakeKeyboard()
    path = inputs.plug(keyboard, "kbd")
    bystander = inputs.open(path)
    async with open_reader(Settings(path=path)) as reader:
        keyboard.tap(A, ENTER)
        assert (await asyncio.wait_for(anext(reader.scans()), PATIENCE_S)).number == b"a"
        with pytest.raises(BlockingIOError):
            list(bystander.read())
        with pytest.raises(DeviceBusyError, match=f"process {os.getpid()}|unknown process"):
            async with open_reader(Settings(path=path)):
                pass
    assert keyboard.clients == [bystander]
    assert keyboard.holder is None
    bystander.close()


async def test_pulled_scanner_ends_the_scans_without_spinning(inputs: FakeInputs) -> None:
    async with opened(inputs) as bench:
        descriptor = bench.keyboard.clients[0].fd
        bench.keyboard.tap(A)
        inputs.unplug(bench.keyboard)
        with pytest.raises(DeviceAbsentError, match="went away"):
            await bench.scan()
        assert not asyncio.get_running_loop().remove_reader(descriptor)
        assert bench.reader.counts["scans"] == 0


async def test_scanner_is_found_again_by_its_link_thirty_times(inputs: FakeInputs) -> None:
    keyboard = FakeKeyboard()
    settings = Settings(path=inputs.plug(keyboard, "kbd"))

    async def cycle() -> None:
        async with open_reader(settings) as reader:
            keyboard.tap(A, ENTER)
            scans = reader.scans()
            assert (await asyncio.wait_for(anext(scans), PATIENCE_S)).number == b"a"
            inputs.unplug(keyboard)
            with pytest.raises(DeviceAbsentError):
                await asyncio.wait_for(anext(scans), PATIENCE_S)
        with pytest.raises(DeviceAbsentError):
            async with open_reader(settings):
                pass
        inputs.plug(keyboard, "kbd")

    await cycle()
    before = held_resources()
    for _ in range(30):
        await cycle()
    assert not held_resources() - before


@pytest.mark.parametrize(
    "match", [{"vendor": 0x0C2E}, {"product": 0x0B61, "vendor": 0x0C2E}, {"model": "Scan Co QR"}]
)
async def test_scanner_is_found_by_what_it_says_of_itself(
    inputs: FakeInputs, match: dict[str, Any]
) -> None:
    inputs.plug(FakeKeyboard(name="Desk", vendor=0x046D, product=0xC31C))
    # The same device's media keys: no Enter there.
    inputs.plug(FakeKeyboard(keys=(ecodes.KEY_VOLUMEUP,)))
    keyboard = FakeKeyboard()
    inputs.plug(keyboard)
    async with open_reader(Settings(**match)) as reader:
        keyboard.tap(C, ENTER)
        assert (await asyncio.wait_for(anext(reader.scans()), PATIENCE_S)).number == b"c"
    assert [other.clients for other in inputs.nodes.values()] == [[], [], []]


async def test_none_or_two_that_match_are_told_apart(inputs: FakeInputs) -> None:
    settings = Settings(vendor=0x0C2E, model="Scan Co QR")
    with pytest.raises(DeviceAbsentError, match="vendor 0c2e, model Scan Co QR"):
        async with open_reader(settings):
            pass
    keyboards = [FakeKeyboard(), FakeKeyboard()]
    nodes = [inputs.plug(keyboard) for keyboard in keyboards]
    with pytest.raises(DeviceFaultError, match=f"{nodes[0]}, {nodes[1]}; set path"):
        async with open_reader(settings):
            pass
    assert [keyboard.clients for keyboard in keyboards] == [[], []]


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"path": "/dev/input/event7"},
        {"path": "/dev/input/by-id/x", "vendor": 1},
        {"vendor": 70000},
        {"vendor": 1, "layout": "dvorak"},
        {"vendor": 1, "vendors": 1},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, Settings)


def test_claims_name_the_device() -> None:
    assert Settings(path="/dev/input/by-id/x").claims() == ("input /dev/input/by-id/x",)
    match = Settings(vendor=0xC2E, product=0xB61, model="Q")
    assert match.claims() == ("input vendor 0c2e, product 0b61, model Q",)
