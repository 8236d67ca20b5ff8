"""What members are handed: profiles that devices take, pages that say what is so, codes."""

import base64
import plistlib
import re
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import segno
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs12

from edgegate.wifi.authority import bundle
from edgegate.wifi.profiles import apple, geteduroam, page
from edgegate.wifi.profiles.handout import HandoutError, Login, Network, Paper, wifi_text
from edgegate.wifi.profiles.page import Handout
from edgegate.wifi.profiles.style import STYLE
from edgegate.wifi.profiles.words import LANGUAGES, Words
from rig.wifi_papers import authority, client

NASTY = "<b>\"R&D\" 'Loft'</b>"
LOGIN = Login("wifi-<&>'\"", "k7mw-2&<q9")


def network(**given: Any) -> Network:
    made = {
        "ssid": "Loft",
        "server_name": "wifi.loft.example",
        "authority": authority("ec").certificate,
        "space": NASTY,
    }
    return Network(**{**made, **given})


def paper() -> Paper:
    certificate, key = client("anna", "ec")
    return Paper("anna", bundle(authority("ec"), certificate, key, b"open sesame"), "open sesame")


def of_type(profile: dict[str, Any], kind: str) -> dict[str, Any]:
    (found,) = (one for one in profile["PayloadContent"] if one["PayloadType"] == kind)
    return dict(found)


def test_an_apple_profile_pins_the_authority_and_the_name() -> None:
    profile = plistlib.loads(apple.password_profile(network(), LOGIN, "why"))
    assert (profile["PayloadType"], profile["PayloadVersion"]) == ("Configuration", 1)
    root, wifi = (
        of_type(profile, "com.apple.security.root"),
        of_type(profile, "com.apple.wifi.managed"),
    )
    assert x509.load_der_x509_certificate(root["PayloadContent"]) == authority("ec").certificate
    assert (wifi["SSID_STR"], wifi["EncryptionType"], wifi["AutoJoin"]) == ("Loft", "WPA2", True)
    eap = wifi["EAPClientConfiguration"]
    assert eap["AcceptEAPTypes"] == [21]
    assert eap["TTLSInnerAuthentication"] == "PAP"
    assert (eap["UserName"], eap["UserPassword"]) == (LOGIN.name, LOGIN.password)
    assert eap["OuterIdentity"] == "anonymous"
    assert eap["TLSTrustedServerNames"] == ["wifi.loft.example"]
    assert eap["PayloadCertificateAnchorUUID"] == [root["PayloadUUID"]]
    identifiers = {profile["PayloadUUID"], root["PayloadUUID"], wifi["PayloadUUID"]}
    assert len(identifiers) == 3
    assert all(
        re.fullmatch(r"[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}", one) for one in identifiers
    )


def test_a_profile_that_is_made_again_replaces_the_one_before() -> None:
    first = plistlib.loads(apple.password_profile(network(), LOGIN, "why"))
    again = plistlib.loads(apple.password_profile(network(), Login(LOGIN.name, "new"), "why"))
    other = plistlib.loads(apple.password_profile(network(), Login("bob", "new"), "why"))
    assert first["PayloadIdentifier"] == again["PayloadIdentifier"] != other["PayloadIdentifier"]


def test_an_apple_profile_with_a_certificate_names_it() -> None:
    profile = plistlib.loads(apple.certificate_profile(network(), paper(), "why"))
    held, wifi = (
        of_type(profile, "com.apple.security.pkcs12"),
        of_type(profile, "com.apple.wifi.managed"),
    )
    assert wifi["PayloadCertificateUUID"] == held["PayloadUUID"]
    eap = wifi["EAPClientConfiguration"]
    assert (eap["AcceptEAPTypes"], "UserPassword" in eap) == ([13], False)
    assert eap["PayloadCertificateAnchorUUID"] == [
        of_type(profile, "com.apple.security.root")["PayloadUUID"]
    ]
    assert eap["TLSTrustedServerNames"] == ["wifi.loft.example"]
    key, certificate, _ = pkcs12.load_key_and_certificates(
        held["PayloadContent"], held["Password"].encode()
    )
    assert key is not None
    assert certificate == client("anna", "ec")[0]


ORDER = {
    "EAPIdentityProviderList": ["EAPIdentityProvider"],
    "EAPIdentityProvider": [
        *("ValidUntil", "AuthenticationMethods", "CredentialApplicability", "ProviderInfo")
    ],
    "AuthenticationMethods": ["AuthenticationMethod"],
    "AuthenticationMethod": [
        *("EAPMethod", "ServerSideCredential", "ClientSideCredential", "InnerAuthenticationMethod")
    ],
    "ServerSideCredential": ["CA", "ServerID"],
    "ClientSideCredential": [
        *("OuterIdentity", "UserName", "Password", "ClientCertificate", "Passphrase")
    ],
    "InnerAuthenticationMethod": ["NonEAPAuthMethod"],
    "EAPMethod": ["Type"],
    "NonEAPAuthMethod": ["Type"],
    "CredentialApplicability": ["IEEE80211"],
    "IEEE80211": ["SSID", "MinRSNProto"],
    "ProviderInfo": ["DisplayName"],
}
"""Which element may stand in which, and in which order, by GÉANT's eap-metadata.xsd."""


def parsed(config: bytes) -> ET.Element:
    return ET.fromstring(config)  # noqa: S314 - it was made here


def in_order(element: ET.Element) -> None:
    allowed = ORDER.get(element.tag, [])
    places = [allowed.index(child.tag) for child in element]
    assert places == sorted(set(places)), element.tag
    for child in element:
        in_order(child)


def text(root: ET.Element, tag: str) -> str:
    (found,) = root.iter(tag)
    return found.text or ""


def test_an_eap_config_has_the_form_of_its_schema() -> None:
    root = parsed(geteduroam.password_config(network(), LOGIN, "de"))
    in_order(root)
    provider = root[0]
    assert provider.attrib == {
        "ID": "wifi.loft.example",
        "namespace": "urn:RFC4282:realm",
        "version": "1",
        "lang": "de",
    }
    method, inner = (
        one.findtext("Type") for one in (*root.iter("EAPMethod"), *root.iter("NonEAPAuthMethod"))
    )
    assert (method, inner) == ("21", "1")
    assert (text(root, "UserName"), text(root, "Password")) == (LOGIN.name, LOGIN.password)
    assert (text(root, "OuterIdentity"), text(root, "ServerID")) == (
        "anonymous",
        "wifi.loft.example",
    )
    (ca,) = root.iter("CA")
    assert ca.attrib == {"format": "X.509", "encoding": "base64"}
    der = authority("ec").certificate.public_bytes(Encoding.DER)
    assert base64.b64decode(ca.text or "", validate=True) == der
    assert (text(root, "SSID"), text(root, "MinRSNProto")) == ("Loft", "CCMP")
    assert text(root, "DisplayName") == NASTY


def test_an_eap_config_with_a_certificate_has_no_password() -> None:
    made = paper()
    root = parsed(geteduroam.certificate_config(network(), made))
    in_order(root)
    assert text(root, "Type") == "13"
    (held,) = root.iter("ClientCertificate")
    assert held.attrib == {"format": "PKCS12", "encoding": "base64"}
    assert base64.b64decode(held.text or "") == made.pkcs12
    assert text(root, "Passphrase") == made.password
    assert list(root.iter("Password")) == []


class Read(HTMLParser):
    """What a browser would see of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "br", "wbr"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("language", ["en", "de-AT", "fr"])
@pytest.mark.parametrize("make", [page.slip, page.page])
@pytest.mark.parametrize("url", ["", "https://loft.example/w/<x>&y"])
def test_a_document_is_whole_escaped_and_needs_nothing_else(
    language: str, make: Any, url: str
) -> None:
    handout = Handout(network=network(help="<i>Ana</i>"), login=LOGIN, language=language, url=url)
    html = make(handout)
    read = Read(html)
    tags = {tag for tag, _ in read.tags}
    assert tags.isdisjoint(
        {"b", "i", "script", "img", "link", "iframe"} - ({"b"} if url else set())
    )
    assert NASTY not in html
    for needed in (NASTY, LOGIN.name, LOGIN.password, "Loft", "wifi.loft.example", "<i>Ana</i>"):
        assert needed in read.text.replace("\u2019", "'"), needed
    outside = [
        a for _, a in read.tags if re.search(r"^(https?:)?//", a.get("href") or a.get("src") or "")
    ]
    assert outside == []
    assert "url(" not in html
    assert "@import" not in html
    assert read.tags[0][1]["lang"] == {"de-AT": "de"}.get(language, "en")
    assert "{" not in read.text.replace(STYLE, "")


def test_a_page_links_the_files_that_lie_beside_it() -> None:
    read = Read(page.page(Handout(network=network(), login=LOGIN)))
    links = {attrs["href"] for tag, attrs in read.tags if tag == "a"}
    assert links == {page.APPLE_FILE, page.GETEDUROAM_FILE, page.CERTIFICATE_FILE}
    slip = Read(page.slip(Handout(network=network(), login=LOGIN)))
    assert "a" not in {tag for tag, _ in slip.tags}


def test_the_code_says_where_the_page_is_or_else_the_network() -> None:
    there = Handout(network=network(), login=LOGIN, url="https://loft.example/w/1")
    assert page.code_text(there) == "https://loft.example/w/1"
    alone = Handout(network=network(), login=LOGIN)
    assert page.code_text(alone) == wifi_text(network(), LOGIN)
    # The drawing is that of the code's own matrix: one square for each dark module.
    for handout in (there, alone):
        code = segno.make(page.code_text(handout), error="m", micro=False)
        (drawn,) = re.findall(r'<path[^>]*stroke="#000"[^>]*d="([^"]+)"', page.slip(handout))
        runs = sum(int(run) for run in re.findall(r"h(\d+)", drawn))
        assert runs == sum(sum(row) for row in code.matrix)


def test_a_wifi_code_escapes_what_its_form_gives_a_meaning() -> None:
    login = Login("a;b", 'p:w,"\\')
    assert wifi_text(network(ssid="Loft;2"), login) == (
        'WIFI:T:WPA2-EAP;S:Loft\\;2;E:TTLS;PH2:PAP;A:anonymous;I:a\\;b;P:p\\:w\\,\\"\\\\;;'
    )


def test_nothing_that_devices_cannot_take_is_handed_out() -> None:
    for ssid in ("", "x" * 33, "ü" * 17, "a\nb"):
        with pytest.raises(HandoutError):
            network(ssid=ssid)
    for name, password in (("", "x"), ("a", ""), ("a\x00", "x"), ("a", "\ufffe")):
        with pytest.raises(HandoutError):
            Login(name, password)
    with pytest.raises(HandoutError):
        network(help="x" * 65)
    assert "k7mw" not in repr(LOGIN)
    assert "sesame" not in repr(paper())


@pytest.mark.parametrize("tag", sorted(LANGUAGES))
def test_every_language_says_everything(tag: str) -> None:
    words, english = LANGUAGES[tag], LANGUAGES["en"]
    fields = re.compile(r"\{([a-z]+)\}")
    for name in Words.__struct_fields__:
        said, model = getattr(words, name), getattr(english, name)
        assert len(said) == len(model) if isinstance(said, tuple) else said
        assert set(fields.findall(str(said))) == set(fields.findall(str(model))), name
        assert "!" not in str(said)
