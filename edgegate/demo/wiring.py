"""What is wired to the demo's appliance: its configuration, as an installer would write it."""

from pathlib import Path
from string import Template

SITE = DEVICE = "demo"
KEY_FILE = "site.key"
STATE = "state"
CLOUD = "cloud"
BOARD = "board"
CARD_READER = "card-reader"
SCANNER = "scanner"

_CONFIGURATION = Template("""\
[device]
id = "demo"
state_dir = "$directory/state"
clock = "believed"

[site]
id = "demo"
key = { file = "$directory/site.key" }

[cloud]
url = "$url"
pull_s = 5

[[door]]
id = "front"
release_s = $open_s
exit_s = $exit_s
held_open_s = $held_open_s
contact = { driver = "virtual", socket = "$directory/board", channel = "front-contact" }
exit_button = { driver = "virtual", socket = "$directory/board", channel = "front-exit-button" }

[door.strike]
driver = "virtual"
socket = "$directory/board"
channel = "front-strike"
release_s_max = $open_s

[[door]]
id = "lounge"
release_s = $exit_s
strike = { driver = "virtual", socket = "$directory/board", channel = "lounge-strike" }

[[reader]]
name = "front-card"
door = "front"
driver = "nfc"
port = "$directory/card-reader"

[[reader]]
name = "front-code"
door = "front"
driver = "scanner_serial"
port = "$directory/scanner"

[[reader]]
name = "front-out"
door = "front"
direction = "exit"
driver = "virtual"
socket = "$directory/board"
channel = "front-out"

[[reader]]
name = "lounge"
door = "lounge"
driver = "virtual"
socket = "$directory/board"
channel = "lounge"

[fire]
sensor = { driver = "virtual", socket = "$directory/board", channel = "fire" }
""")


def configuration(
    directory: Path, url: str, *, open_s: float, exit_s: float, held_open_s: float
) -> str:
    """The text of the file; everything that it names but the cloud lies in the directory."""
    return _CONFIGURATION.substitute(
        directory=directory, url=url, open_s=open_s, exit_s=exit_s, held_open_s=held_open_s
    )
