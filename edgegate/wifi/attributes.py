"""The numbers of RADIUS: codes, attributes, vendors and values, as the RFCs name them."""

from enum import IntEnum, unique


@unique
class Code(IntEnum):
    """Packet types: RFC 2865 §3, RFC 2866 §3, RFC 5176 §3.6, RFC 5997 §3."""

    ACCESS_REQUEST = 1
    ACCESS_ACCEPT = 2
    ACCESS_REJECT = 3
    ACCOUNTING_REQUEST = 4
    ACCOUNTING_RESPONSE = 5
    ACCESS_CHALLENGE = 11
    STATUS_SERVER = 12
    DISCONNECT_REQUEST = 40
    DISCONNECT_ACK = 41
    DISCONNECT_NAK = 42
    COA_REQUEST = 43
    COA_ACK = 44
    COA_NAK = 45


@unique
class Attribute(IntEnum):
    """Attribute types: RFC 2865 §5, 2866 §5, 2868 §3, 2869 §5, 3162, 3576 §3.5, 4675, 7268."""

    USER_NAME = 1
    USER_PASSWORD = 2
    CHAP_PASSWORD = 3
    NAS_IP_ADDRESS = 4
    NAS_PORT = 5
    SERVICE_TYPE = 6
    FRAMED_IP_ADDRESS = 8
    FILTER_ID = 11
    FRAMED_MTU = 12
    REPLY_MESSAGE = 18
    STATE = 24
    CLASS = 25
    VENDOR_SPECIFIC = 26
    SESSION_TIMEOUT = 27
    IDLE_TIMEOUT = 28
    TERMINATION_ACTION = 29
    CALLED_STATION_ID = 30
    CALLING_STATION_ID = 31
    NAS_IDENTIFIER = 32
    PROXY_STATE = 33
    ACCT_STATUS_TYPE = 40
    ACCT_DELAY_TIME = 41
    ACCT_INPUT_OCTETS = 42
    ACCT_OUTPUT_OCTETS = 43
    ACCT_SESSION_ID = 44
    ACCT_AUTHENTIC = 45
    ACCT_SESSION_TIME = 46
    ACCT_INPUT_PACKETS = 47
    ACCT_OUTPUT_PACKETS = 48
    ACCT_TERMINATE_CAUSE = 49
    ACCT_MULTI_SESSION_ID = 50
    ACCT_INPUT_GIGAWORDS = 52
    ACCT_OUTPUT_GIGAWORDS = 53
    EVENT_TIMESTAMP = 55
    CHAP_CHALLENGE = 60
    NAS_PORT_TYPE = 61
    TUNNEL_TYPE = 64
    TUNNEL_MEDIUM_TYPE = 65
    CONNECT_INFO = 77
    EAP_MESSAGE = 79
    MESSAGE_AUTHENTICATOR = 80
    TUNNEL_PRIVATE_GROUP_ID = 81
    ACCT_INTERIM_INTERVAL = 85
    NAS_PORT_ID = 87
    CHARGEABLE_USER_IDENTITY = 89
    NAS_IPV6_ADDRESS = 95
    ERROR_CAUSE = 101
    EAP_KEY_NAME = 102
    FRAMED_IPV6_ADDRESS = 168


@unique
class Vendor(IntEnum):
    """Private Enterprise Numbers that Vendor-Specific attributes begin with (IANA)."""

    CISCO = 9
    MICROSOFT = 311
    MIKROTIK = 14988
    ARUBA = 14823
    MERAKI = 29671
    UBIQUITI = 41112
    HPE = 47196


@unique
class MicrosoftAttribute(IntEnum):
    """Vendor types below `Vendor.MICROSOFT`: RFC 2548 §2.4."""

    MPPE_SEND_KEY = 16
    MPPE_RECV_KEY = 17


@unique
class MikrotikAttribute(IntEnum):
    """Vendor types below `Vendor.MIKROTIK`: RouterOS, RADIUS client, "Supported attributes"."""

    WIRELESS_VLAN_ID = 26
    WIRELESS_VLAN_ID_TYPE = 27


@unique
class ServiceType(IntEnum):
    """Values of Service-Type: RFC 2865 §5.6; MAC authentication says Call-Check."""

    LOGIN = 1
    FRAMED = 2
    AUTHENTICATE_ONLY = 8
    CALL_CHECK = 10
    AUTHORIZE_ONLY = 17


@unique
class AcctStatusType(IntEnum):
    """Values of Acct-Status-Type: RFC 2866 §5.1."""

    START = 1
    STOP = 2
    INTERIM_UPDATE = 3
    ACCOUNTING_ON = 7
    ACCOUNTING_OFF = 8


@unique
class TerminateCause(IntEnum):
    """Values of Acct-Terminate-Cause: RFC 2866 §5.10."""

    USER_REQUEST = 1
    LOST_CARRIER = 2
    LOST_SERVICE = 3
    IDLE_TIMEOUT = 4
    SESSION_TIMEOUT = 5
    ADMIN_RESET = 6
    ADMIN_REBOOT = 7
    PORT_ERROR = 8
    NAS_ERROR = 9
    NAS_REQUEST = 10
    NAS_REBOOT = 11
    PORT_UNNEEDED = 12
    PORT_PREEMPTED = 13
    PORT_SUSPENDED = 14
    SERVICE_UNAVAILABLE = 15
    CALLBACK = 16
    USER_ERROR = 17
    HOST_REQUEST = 18


@unique
class ErrorCause(IntEnum):
    """Values of Error-Cause: RFC 5176 §3.5."""

    RESIDUAL_CONTEXT_REMOVED = 201
    INVALID_EAP_PACKET = 202
    UNSUPPORTED_ATTRIBUTE = 401
    MISSING_ATTRIBUTE = 402
    NAS_IDENTIFICATION_MISMATCH = 403
    INVALID_REQUEST = 404
    UNSUPPORTED_SERVICE = 405
    UNSUPPORTED_EXTENSION = 406
    INVALID_ATTRIBUTE_VALUE = 407
    ADMINISTRATIVELY_PROHIBITED = 501
    REQUEST_NOT_ROUTABLE = 502
    SESSION_CONTEXT_NOT_FOUND = 503
    SESSION_CONTEXT_NOT_REMOVABLE = 504
    OTHER_PROXY_ERROR = 505
    RESOURCES_UNAVAILABLE = 506
    REQUEST_INITIATED = 507
    MULTIPLE_SESSION_SELECTION_UNSUPPORTED = 508


MIKROTIK_802_1Q = 0
"""The kind of VLAN, beside 802.1ad."""

TUNNEL_TYPE_VLAN = 13
"""Tunnel-Type for a VLAN: RFC 3580 §3.31."""

TUNNEL_MEDIUM_IEEE_802 = 6
"""Tunnel-Medium-Type for all of IEEE 802: RFC 2868 §3.2."""
