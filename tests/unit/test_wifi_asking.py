"""What stands behind `edgegate wifi test` when a port answers wrongly, or not at all."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from ipaddress import IPv4Network

import pytest
from msgspec.structs import replace

from edgegate.wifi import asking
from edgegate.wifi.attributes import Attribute, Code
from edgegate.wifi.nas import Nas, NasTable, Signing, twin
from edgegate.wifi.packet import Reply, decode, encode_reply
from edgegate.wifi.probe import Plan, Probe

SECRET = b"a secret of many octets"
NAS = Nas(id="ap", network=IPv4Network("192.0.2.7"), secret=SECRET)
Answer = Callable[[bytes], bytes | None]


@contextmanager
def answering(answer: Answer) -> Iterator[int]:
    """Somebody at a port, in a thread."""
    with socket.socket(type=socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        port = int(bound.getsockname()[1])

        def serve() -> None:
            while (heard := bound.recvfrom(4096))[0]:
                said = answer(heard[0])
                if said is not None:
                    bound.sendto(said, heard[1])

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield port
        finally:
            bound.sendto(b"", ("127.0.0.1", port))
            thread.join()


def plan(port: int) -> Plan:
    return Plan(
        nas=twin(NAS, 0),
        host="127.0.0.1",
        auth_port=port,
        acct_port=port,
        methods=("pap", "eap-ttls"),
        trust=None,
        at=datetime.now(UTC),
    )


def replied(code: Code, secret: bytes = SECRET, *attributes: tuple[int, bytes]) -> Answer:
    def answer(request: bytes) -> bytes:
        packet = decode(request)
        status = packet.code == Code.STATUS_SERVER
        told = Code.ACCESS_ACCEPT if status else code
        return encode_reply(Reply(told, attributes), packet, secret)

    return answer


def findings(answer: Answer, refused: dict[str, int] | None = None) -> list[tuple[bool, str, str]]:
    counts: dict[str, int] = {}

    def now() -> dict[str, int]:
        """The daemon counts on whenever it is asked."""
        for why, more in (refused or {}).items():
            counts[why] = counts.get(why, 0) + more
        return dict(counts)

    with answering(answer) as port:
        found = list(Probe(plan(port), now).run())
    return [(one.good, one.came, one.advice) for one in found]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "WAIT_S", 0.2)


def test_an_answer_by_another_secret_is_another_servers() -> None:
    good, came, advice = findings(replied(Code.ACCESS_REJECT, b"another secret of octets"))[0]
    assert not good
    assert "that the secret did not make" in came
    assert "Another RADIUS server" in advice


def test_an_unsigned_answer_by_another_secret_is_seen_through() -> None:
    def answer(request: bytes) -> bytes:
        reply = Reply(Code.ACCOUNTING_RESPONSE)
        return encode_reply(reply, decode(request), b"another secret of octets")

    good, came, _ = findings(answer)[1]
    assert (good, "that the secret did not make" in came) == (False, True)


def test_noise_is_no_answer() -> None:
    good, came, _ = findings(lambda _: b"noise")[0]
    assert (good, "too few for a packet" in came) == (False, True)


@pytest.mark.parametrize(
    ("why", "told", "advice"),
    [
        ("ap: refused, message_authenticator", "the secrets differ", "type the secret anew"),
        ("strangers: refused, stranger", "does not know who asks", "restart"),
        ("ap: dropped, in_flight", "in_flight", "journalctl"),
        ("", "no answer", "firewall"),
    ],
)
def test_silence_is_explained_by_what_the_daemon_counts(why: str, told: str, advice: str) -> None:
    found = findings(lambda _: None, {why: 1} if why else None)
    assert len(found) == 2, "nothing else is tried"
    assert not found[0][0]
    assert told in found[0][1]
    assert advice in found[0][2]


def test_a_made_up_login_that_is_let_in_is_no_good_sign() -> None:
    found = findings(replied(Code.ACCESS_ACCEPT))
    assert [one[0] for one in found] == [True, True, False, False]
    assert "made-up login was let in" in found[2][1]
    assert "--ca" in found[3][2]


def test_a_refusal_is_told_in_its_own_words() -> None:
    sentence = (int(Attribute.REPLY_MESSAGE), b"Your pass starts at 18:00.")
    found = findings(replied(Code.ACCESS_REJECT, SECRET, sentence))
    assert found[2][0]
    assert "Your pass starts at 18:00." in found[2][1]


def test_a_twin_is_found_before_the_network_it_stands_in() -> None:
    wide = Nas(id="all", network=IPv4Network("127.0.0.0/8"), secret=SECRET)
    table = NasTable((wide, twin(NAS, 0), twin(wide, 1)))
    names = [table.find(address) for address in ("127.83.0.1", "127.83.0.2", "127.0.0.1")]
    assert [nas and nas.id for nas in names] == ["ap", "all", "all"]
    assert table.find("192.0.2.7") is None
    assert len({twin(NAS, place).network for place in range(256)}) == 256


def test_nobody_on_this_computer_asks_as_a_twin_without_a_signature() -> None:
    for signing in Signing:
        assert twin(replace(NAS, signing=signing), 0).signing is Signing.YES
