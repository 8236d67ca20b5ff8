"""How TLS messages travel in EAP packets: flags, lengths, fragments (RFC 5216 §3, RFC 5281 §9)."""

FRAGMENT_BYTES_MAX = 1024
"""The largest EAP packet that is sent: every link carries it (RFC 3748 §3.1 asks for 1020)."""

FRAGMENT_BYTES_MIN = 128
"""Whatever a Framed-MTU says, packets are not cut smaller: they would be too many."""

EAPOL_HEADER_BYTES = 4
"""IEEE 802.1X §11.3: Framed-MTU is what the link carries, and this comes before the packet."""

MESSAGE_BYTES_MAX = 16_384
"""The longest message that is taken from a device: chains of certificates stay well below."""

_LENGTH, _MORE, _START = 0x80, 0x40, 0x20
_VERSION = 0x07
_EAP_BYTES = 5
_FLAGS_BYTES = 1
_LENGTH_BYTES = 4

START = bytes((_START,))
ACKNOWLEDGEMENT = b"\0"


class FragmentError(ValueError):
    """A packet that does not fit the message it belongs to; the text says how."""


def packet_bytes_max(mtu: int | None) -> int:
    """The largest EAP packet for a link with that Framed-MTU, `None` if it said none."""
    if mtu is None:
        return FRAGMENT_BYTES_MAX
    return min(FRAGMENT_BYTES_MAX, max(FRAGMENT_BYTES_MIN, mtu - EAPOL_HEADER_BYTES))


class Incoming:
    """Puts a device's message together."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._received = 0
        self._announced: int | None = None

    def take(self, data: bytes) -> bytes | None:
        """The message that this fragment completes; `None` if more of it is to come.

        Raises:
            FragmentError: if the fragment does not belong here; the conversation cannot go on.
        """
        if not data:
            raise FragmentError("a packet without flags")
        flags = data[0]
        if flags & _START:
            raise FragmentError("a start, which only the server sends")
        if flags & _VERSION:
            raise FragmentError(f"version {flags & _VERSION} of the method, of which there is 0")
        content = self._content(flags, data)
        self._received += len(content)
        if self._received > (MESSAGE_BYTES_MAX if self._announced is None else self._announced):
            raise FragmentError("more bytes than the message has")
        self._parts.append(content)
        if flags & _MORE:
            if not content:
                raise FragmentError("a fragment with nothing in it")
            return None
        if self._announced is not None and self._received < self._announced:
            raise FragmentError("fewer bytes than the message has")
        message = b"".join(self._parts)
        self._parts, self._received, self._announced = [], 0, None
        return message

    def _content(self, flags: int, data: bytes) -> bytes:
        """What follows the flags and, where there is one, the length."""
        if not flags & _LENGTH:
            return data[_FLAGS_BYTES:]
        if len(data) < _FLAGS_BYTES + _LENGTH_BYTES:
            raise FragmentError("a length cut short")
        announced = int.from_bytes(data[_FLAGS_BYTES : _FLAGS_BYTES + _LENGTH_BYTES])
        if announced > MESSAGE_BYTES_MAX:
            raise FragmentError(f"a message of more than {MESSAGE_BYTES_MAX} bytes")
        # Some devices repeat the length in every fragment: it must stay the same one.
        if self._parts and announced != self._announced:
            raise FragmentError("a length that changes within a message")
        self._announced = announced
        return data[_FLAGS_BYTES + _LENGTH_BYTES :]


class Outgoing:
    """Cuts a message of ours into packets; the device acknowledges each before the next."""

    def __init__(self) -> None:
        self._message = b""
        self._sent = 0

    @property
    def is_under_way(self) -> bool:
        """Whether there is more to send."""
        return self._sent < len(self._message)

    def send(self, message: bytes, packet_max: int) -> bytes:
        """Begin a message; what follows the type in the first packet."""
        room = packet_max - _EAP_BYTES - _FLAGS_BYTES
        if len(message) <= room:
            return b"\0" + message
        self._message = message
        self._sent = room - _LENGTH_BYTES
        head = bytes((_LENGTH | _MORE,)) + len(message).to_bytes(_LENGTH_BYTES)
        return head + message[: self._sent]

    def next(self, packet_max: int) -> bytes:
        """What follows the type in the next packet."""
        begin = self._sent
        self._sent = min(len(self._message), begin + packet_max - _EAP_BYTES - _FLAGS_BYTES)
        part = self._message[begin : self._sent]
        if self.is_under_way:
            return bytes((_MORE,)) + part
        self._message, self._sent = b"", 0
        return b"\0" + part


def is_acknowledgement(data: bytes) -> bool:
    """Whether a packet says no more than that the last one came."""
    return len(data) == 1 and data[0] == 0
