"""So many stations that join by EAP-TTLS, again and again, until the process is ended.

`wifi_crowd.py FILE`: the JSON in it is a `Crowd`. Prints how many have joined, every second.
"""

import itertools
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bench import eap_peer
from bench.radius_load import Conversation, Load


class Crowd(msgspec.Struct):
    """Who joins where."""

    port: int
    secret: str
    authority: str
    in_flight: int
    members: list[tuple[str, str]]


def main() -> None:
    crowd = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Crowd)
    secret = crowd.secret.encode()
    shared = eap_peer.context(Path(crowd.authority))
    begun = 0

    def peers() -> Iterator[Conversation]:
        nonlocal begun
        for name, password in itertools.cycle(crowd.members):
            begun += 1
            # A device of its own each time: one that comes in again at once is not recorded.
            yield eap_peer.Peer(shared, secret, "anonymous", (name, password), str(begun))

    def report() -> None:
        while True:
            print(max(0, begun - crowd.in_flight), flush=True)
            time.sleep(1)

    threading.Thread(target=report, daemon=True).start()
    Load(crowd.port, secret).run(peers(), crowd.in_flight)


if __name__ == "__main__":
    main()
