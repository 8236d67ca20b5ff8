"""The table of what the admin API does with what people's devices prove themselves by."""

from http import HTTPMethod
from typing import Annotated

from msgspec import Meta, Struct

from edgegate.passes.model import Id, Instant
from edgegate_sync.cloud.record_operations import SITE
from edgegate_sync.wire.operations import Answer, Body, Operation, Parameter, Place, Scope

LoginName = Annotated[str, Meta(min_length=1, max_length=64)]
"""As long as a certificate's common name may be (RFC 5280, appendix A), for EAP-TLS."""

MacText = Annotated[str, Meta(min_length=12, max_length=17)]

BASE = "/admin/v1/sites/{site}"
CUSTOMER = Parameter("customer", Id, "The customer's id.", place=Place.PATH)
CREDENTIAL = Parameter("credential", Id, "The credential's id.", place=Place.PATH)


class WantedLogin(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A login that is to be made; the password is made up here, as nobody makes up a good one."""

    name: LoginName | None = None
    """Else one is made up that says nothing of its owner: names travel in the clear at portals."""
    chap: bool = False
    """For portals that speak CHAP: the password is kept sealed in the place of its hash."""
    valid_from: Instant | None = None
    valid_until: Instant | None = None


class IssuedLogin(Struct, frozen=True, kw_only=True):
    """A login with its password, which is told this once and kept nowhere."""

    credential: str
    name: str
    password: str
    head: int


class WantedPassword(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the new password is for; without `chap` it is as the one before was."""

    chap: bool | None = None


class IssuedPassword(Struct, frozen=True, kw_only=True):
    """A new password, which is told this once and kept nowhere."""

    credential: str
    password: str
    head: int


class WantedDevice(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A device that comes in by its address; `mac` may be written in any notation."""

    mac: MacText
    valid_from: Instant | None = None
    valid_until: Instant | None = None


class AddedDevice(Struct, frozen=True, kw_only=True):
    """A device that is known now."""

    credential: str
    mac: str
    """As it is known: twelve upper-case hexadecimal digits."""
    randomised: bool
    """The device made this address up, and will make up another one some day."""
    head: int


class Changed(Struct, frozen=True, kw_only=True):
    """It is done, and on its way to the devices."""

    head: int


def _post(
    name: str, path: str, says: str, body: type[Struct] | None, status: int, answer: Answer
) -> Operation:
    place = CUSTOMER if "{customer}" in path else CREDENTIAL
    return Operation(
        name=name,
        method=HTTPMethod.POST,
        path=f"{BASE}{path}",
        tag="wifi",
        says=says,
        scope=Scope.WRITE,
        parameters=(SITE, place),
        body=None if body is None else Body(type=body),
        answers={status: answer},
        problems={
            404: f"There is no such site or {place.name}.",
            409: "It may not be done; `detail` says why, and what would help.",
        },
    )


WIFI_OPERATIONS: tuple[Operation, ...] = (
    _post(
        "issue_wifi_login",
        "/customers/{customer}/wifi-logins",
        "Make a Wi-Fi login for a customer; one may have several, as one for each device.",
        WantedLogin,
        201,
        Answer("The login; its password is told this once.", Body(type=IssuedLogin)),
    ),
    _post(
        "renew_wifi_password",
        "/credentials/{credential}/wifi-password",
        "Replace a Wi-Fi login's password; devices that have the old one stay out.",
        WantedPassword,
        200,
        Answer("The password; it is told this once.", Body(type=IssuedPassword)),
    ),
    _post(
        "add_wifi_device",
        "/customers/{customer}/wifi-devices",
        "Let a customer's device come in by its MAC address; twice changes nothing.",
        WantedDevice,
        201,
        Answer("The device is known.", Body(type=AddedDevice)),
    ),
    _post(
        "block_credential",
        "/credentials/{credential}/block",
        "Block a login, device, card or code; it stays known, and is refused.",
        None,
        200,
        Answer("It is blocked.", Body(type=Changed)),
    ),
    _post(
        "unblock_credential",
        "/credentials/{credential}/unblock",
        "Let a blocked login, device, card or code work again.",
        None,
        200,
        Answer("It works again.", Body(type=Changed)),
    ),
)
"""The Wi-Fi's part of the admin API."""
