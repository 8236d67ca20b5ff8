"""Configuration profiles for Apple's devices: Apple's "Device Management" reference, WiFi."""

import plistlib
from typing import Any

from edgegate.wifi.eap.packet import Type
from edgegate.wifi.profiles.handout import (
    OUTER_IDENTITY,
    Login,
    Network,
    Paper,
    identifier,
)

MEDIA_TYPE = "application/x-apple-aspen-config"
"""By which a browser knows a profile; the file's name ends in `.mobileconfig`."""

_ROOT = "com.apple.security.root"
_PKCS12 = "com.apple.security.pkcs12"
_WIFI = "com.apple.wifi.managed"


def password_profile(network: Network, login: Login, description: str) -> bytes:
    """A profile for EAP-TTLS with PAP inside."""
    eap = _eap(network, login.name, Type.TTLS) | {
        "TTLSInnerAuthentication": "PAP",
        "UserName": login.name,
        "UserPassword": login.password,
        "OuterIdentity": OUTER_IDENTITY,
    }
    return _profile(network, login.name, description, _wifi(network, login.name, eap))


def certificate_profile(network: Network, paper: Paper, description: str) -> bytes:
    """A profile for EAP-TLS; whoever has the file has the key, as with a password."""
    held = _payload(network, paper.name, _PKCS12, paper.name) | {
        "PayloadContent": paper.pkcs12,
        "PayloadCertificateFileName": "wifi.p12",
        "Password": paper.password,
    }
    eap = _eap(network, paper.name, Type.TLS) | {
        "UserName": paper.name,
        "TLSCertificateIsRequired": True,
    }
    wifi = _wifi(network, paper.name, eap) | {"PayloadCertificateUUID": held["PayloadUUID"]}
    return _profile(network, paper.name, description, held, wifi)


def _eap(network: Network, name: str, method: Type) -> dict[str, Any]:
    """What all methods have: whom to trust, and that no older TLS will do."""
    return {
        "AcceptEAPTypes": [int(method)],
        "PayloadCertificateAnchorUUID": [_uuid(network, name, _ROOT)],
        "TLSTrustedServerNames": [network.server_name],
        "TLSMinimumVersion": "1.2",
    }


def _wifi(network: Network, name: str, eap: dict[str, Any]) -> dict[str, Any]:
    return _payload(network, name, _WIFI, f"Wi-Fi {network.ssid}") | {
        "SSID_STR": network.ssid,
        "HIDDEN_NETWORK": False,
        "AutoJoin": True,
        # It means WPA2 and what came after it.
        "EncryptionType": "WPA2",
        "ProxyType": "None",
        "EAPClientConfiguration": eap,
    }


def _profile(network: Network, name: str, description: str, *payloads: dict[str, Any]) -> bytes:
    root = _payload(network, name, _ROOT, f"Wi-Fi {network.ssid}") | {
        "PayloadContent": network.authority_der,
        "PayloadCertificateFileName": "wifi-ca.cer",
    }
    whole = _payload(network, name, "Configuration", f"{network.space}: {network.ssid}") | {
        "PayloadContent": [root, *payloads],
        "PayloadDescription": description,
        "PayloadOrganization": network.space,
        "PayloadRemovalDisallowed": False,
    }
    return plistlib.dumps(whole)


def _payload(network: Network, name: str, kind: str, shown: str) -> dict[str, Any]:
    unique = _uuid(network, name, kind)
    return {
        "PayloadType": kind,
        "PayloadVersion": 1,
        "PayloadIdentifier": f"edgegate.wifi.{unique.lower()}",
        "PayloadUUID": unique,
        "PayloadDisplayName": shown,
    }


def _uuid(network: Network, name: str, part: str) -> str:
    return str(identifier(network, name, part)).upper()
