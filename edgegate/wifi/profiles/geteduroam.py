"""eap-config files, which the geteduroam apps for Android, Windows and Linux install.

The form is that of draft-winter-opsawg-eap-metadata as GÉANT publishes it (eap-metadata.xsd):
every element has its place in a sequence.
"""

import base64
from xml.etree import ElementTree as ET

from edgegate.wifi.eap.packet import Type
from edgegate.wifi.profiles.handout import OUTER_IDENTITY, Login, Network, Paper

MEDIA_TYPE = "application/eap-config"
_PAP = 1
"""Of the schema's NonEAPAuthNumbers."""

_SCHEMA = "eap-metadata.xsd"
_INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"


def password_config(network: Network, login: Login, language: str = "en") -> bytes:
    """A configuration for EAP-TTLS with PAP inside."""
    root, method = _begun(network, Type.TTLS)
    own = ET.SubElement(method, "ClientSideCredential", allow_save="true")
    _text(own, "OuterIdentity", OUTER_IDENTITY)
    _text(own, "UserName", login.name)
    _text(own, "Password", login.password)
    inner = ET.SubElement(method, "InnerAuthenticationMethod")
    _text(ET.SubElement(inner, "NonEAPAuthMethod"), "Type", str(_PAP))
    return _ended(root, network, language)


def certificate_config(network: Network, paper: Paper, language: str = "en") -> bytes:
    """A configuration for EAP-TLS; whoever has the file has the key, as with a password."""
    root, method = _begun(network, Type.TLS)
    own = ET.SubElement(method, "ClientSideCredential", allow_save="true")
    # EAP-TLS has no inner name: this one is what the server reads beside the certificate.
    _text(own, "OuterIdentity", paper.name)
    _encoded(own, "ClientCertificate", "PKCS12", paper.pkcs12)
    _text(own, "Passphrase", paper.password)
    return _ended(root, network, language)


def _begun(network: Network, method: Type) -> tuple[ET.Element, ET.Element]:
    root = ET.Element(
        "EAPIdentityProviderList",
        {"xmlns:xsi": _INSTANCE, "xsi:noNamespaceSchemaLocation": _SCHEMA},
    )
    provider = ET.SubElement(
        root,
        "EAPIdentityProvider",
        ID=network.server_name,
        namespace="urn:RFC4282:realm",
        version="1",
    )
    ending = network.authority.not_valid_after_utc
    _text(provider, "ValidUntil", f"{ending:%Y-%m-%dT%H:%M:%SZ}")
    methods = ET.SubElement(provider, "AuthenticationMethods")
    one = ET.SubElement(methods, "AuthenticationMethod")
    _text(ET.SubElement(one, "EAPMethod"), "Type", str(int(method)))
    server = ET.SubElement(one, "ServerSideCredential")
    _encoded(server, "CA", "X.509", network.authority_der)
    _text(server, "ServerID", network.server_name)
    return root, one


def _ended(root: ET.Element, network: Network, language: str) -> bytes:
    provider = root[0]
    provider.set("lang", language)
    where = ET.SubElement(provider, "CredentialApplicability")
    wireless = ET.SubElement(where, "IEEE80211")
    _text(wireless, "SSID", network.ssid)
    _text(wireless, "MinRSNProto", "CCMP")
    info = ET.SubElement(provider, "ProviderInfo")
    _text(info, "DisplayName", network.space)
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text


def _encoded(parent: ET.Element, tag: str, form: str, content: bytes) -> None:
    element = ET.SubElement(parent, tag, format=form, encoding="base64")
    element.text = base64.b64encode(content).decode()


def _text(parent: ET.Element, tag: str, text: str) -> None:
    ET.SubElement(parent, tag).text = text
