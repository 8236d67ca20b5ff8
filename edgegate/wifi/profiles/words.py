"""The words on the slip and the page, in each language.

Apostrophes are typed straight; the reader sees typographic ones.
"""

from collections.abc import Mapping

from msgspec import Struct


class Words(Struct, frozen=True, kw_only=True):
    """The words of one language. Fields: space, ssid, server, help, file."""

    title: str
    network: str
    login: str
    password: str
    keep: str
    """Whose it is, and what to do when it is lost; needs nothing but `help`."""
    desk: str
    """Who helps where nobody is named."""
    scan_page: str
    """Beside the code that leads to the page."""
    scan_wifi: str
    """Beside the code of the network itself, which no certificate fits into."""
    device: str
    """Where each device is spoken of."""
    apple: str
    apple_steps: tuple[str, ...]
    apple_button: str
    others: str
    others_steps: tuple[str, ...]
    others_button: str
    ask: str
    """On paper, where nothing can be pressed, and there is no page."""
    hand: str
    hand_rows: tuple[tuple[str, str], ...]
    """What a device asks for and what to answer; login, identity and password are added."""
    certificate: str
    certificate_button: str
    domain: str
    identity: str
    anonymous: str
    private_title: str
    private: str
    trouble_title: str
    trouble: tuple[str, ...]
    description: str
    """What a profile says of itself."""


ENGLISH = Words(
    title="Wi-Fi at {space}",
    network="Network",
    login="Login",
    password="Password",  # noqa: S106 - the word
    keep="This login is yours alone. If it gets lost, {help} blocks it and gives you a new one.",
    desk="the desk",
    scan_page="Scan this with your phone's camera: it opens the page that sets your device up.",
    scan_wifi=(
        "Some Android apps read this code. Give the phone the certificate and the domain below as"
        " well, or it may tell your password to a stranger's network."
    ),
    device="Set up your device",
    apple="iPhone, iPad, Mac",
    apple_steps=(
        "Open the file {file}.",
        "iPhone and iPad: Settings, Profile downloaded, Install. Mac: System Settings, Profiles.",
        "That is all: the device joins by itself.",
    ),
    apple_button="Profile for iPhone, iPad and Mac",
    others="Android, Windows, Linux",
    others_steps=(
        "Get the free app geteduroam from your app store.",
        "Open the file {file} with it.",
        "Say yes when the app asks to save the network.",
    ),
    others_button="File for geteduroam",
    ask="The files are to be had from {help}, by mail or from a page.",
    hand="By hand",
    hand_rows=(
        ("Security", "WPA2 or WPA3 Enterprise"),
        ("EAP method", "TTLS"),
        ("Phase 2 authentication", "PAP"),
    ),
    certificate="CA certificate",
    certificate_button="Certificate",
    domain="Domain",
    identity="Identity",
    anonymous="Anonymous identity",
    private_title="Private addresses may stay on",
    private=(
        "Your device may change its Wi-Fi address as often as it likes: you are known by your"
        " login."
    ),
    trouble_title="It does not connect",
    trouble=(
        "Forget the network on the device and set it up again: old settings often stay behind.",
        "Does the device's clock show today? A wrong clock makes every certificate look wrong.",
        "Does it ask whether to trust a certificate? Say no unless it is for {server}.",
        "Do you have a pass that includes the Wi-Fi today? If not, {help} can help.",
    ),
    description="Joins {ssid} by itself, and trusts nobody but {server} there.",
)

GERMAN = Words(
    title="WLAN bei {space}",
    network="Netz",
    login="Anmeldename",
    password="Passwort",  # noqa: S106 - the word
    keep=(
        "Dieser Zugang gehört nur dir. Geht er verloren, sperrt {help} ihn und gibt dir einen"
        " neuen."
    ),
    desk="der Empfang",
    scan_page=(
        "Scanne das mit der Kamera deines Telefons: Es öffnet die Seite, die dein Gerät einrichtet."
    ),
    scan_wifi=(
        "Manche Android-Apps lesen diesen Code. Gib dem Telefon auch das Zertifikat und die Domain"
        " von unten, sonst verrät es dein Passwort vielleicht einem fremden Netz."
    ),
    device="Gerät einrichten",
    apple="iPhone, iPad, Mac",
    apple_steps=(
        "Öffne die Datei {file}.",
        (
            "iPhone und iPad: Einstellungen, Profil geladen, Installieren. Mac:"
            " Systemeinstellungen, Profile."
        ),
        "Das ist alles: Das Gerät verbindet sich von selbst.",
    ),
    apple_button="Profil für iPhone, iPad und Mac",
    others="Android, Windows, Linux",
    others_steps=(
        "Hole die freie App geteduroam aus deinem App-Store.",
        "Öffne die Datei {file} damit.",
        "Sage ja, wenn die App das Netz speichern will.",
    ),
    others_button="Datei für geteduroam",
    ask="Die Dateien gibt dir {help}, per Mail oder über eine Seite.",
    hand="Von Hand",
    hand_rows=(
        ("Sicherheit", "WPA2 oder WPA3 Enterprise"),
        ("EAP-Methode", "TTLS"),
        ("Phase-2-Authentifizierung", "PAP"),
    ),
    certificate="CA-Zertifikat",
    certificate_button="Zertifikat",
    domain="Domain",
    identity="Identität",
    anonymous="Anonyme Identität",
    private_title="Private Adressen dürfen an bleiben",
    private=(
        "Dein Gerät darf seine WLAN-Adresse wechseln, so oft es will: Man kennt dich an deinem"
        " Anmeldenamen."
    ),
    trouble_title="Es verbindet sich nicht",
    trouble=(
        (
            "Lass das Gerät das Netz vergessen und richte es neu ein: Alte Einstellungen bleiben"
            " oft zurück."
        ),
        (
            "Zeigt die Uhr des Geräts den heutigen Tag? Mit falscher Uhr sieht jedes Zertifikat"
            " falsch aus."
        ),
        "Fragt es, ob es einem Zertifikat trauen soll? Sage nein, außer es ist für {server}.",
        "Hast du heute einen Pass, in dem das WLAN enthalten ist? Sonst hilft {help}.",
    ),
    description="Verbindet sich von selbst mit {ssid} und traut dort niemandem außer {server}.",
)

LANGUAGES: Mapping[str, Words] = {"en": ENGLISH, "de": GERMAN}
"""By the first part of a language tag (BCP 47)."""


def words_of(tag: str) -> Words:
    """The words of a language tag; whoever speaks another language reads English."""
    return LANGUAGES.get(tag.partition("-")[0].lower(), ENGLISH)
