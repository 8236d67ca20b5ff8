"""What people call the members, doors and passes that an export knows by their ids."""

from datetime import datetime
from zoneinfo import ZoneInfo

from edgegate.passes.model import Channel, Location, Pass, Unit
from edgegate.whatif.compare import Told
from edgegate.whatif.records import SiteRecords, holder_name

WAYS = {Channel.KIOSK: "Front desk", Channel.WIFI: "Wi-Fi"}
"""The ways in that have no door."""


class Names:
    """The names that a site's records give, those of the changes included."""

    def __init__(self, base: SiteRecords, changed: SiteRecords) -> None:
        self._base = base
        self._changed = changed

    def _records(self, kind: str, id_: str | None) -> SiteRecords:
        """The records that know of it: those that are, else those that would be."""
        return self._base if self._base.get(kind, id_) is not None else self._changed

    def member(self, id_: str) -> str:
        """A member's name, or id."""
        return self._records("customer", id_).name_of("customer", id_)

    def pass_(self, id_: str) -> str:
        """A pass by its holder's name and its own."""
        records = self._records("pass", id_)
        p = records.get("pass", id_)
        if not isinstance(p, Pass):
            return id_
        return f"{holder_name(records, p)}: {records.name_of('pass', id_)}"

    def payer(self, pass_id: str | None, offer_id: str | None) -> str:
        """What pays: a pass's or an offer's name, or id."""
        if pass_id is not None:
            return self._records("pass", pass_id).name_of("pass", pass_id)
        return self.offer(offer_id or "")

    def unit(self, id_: str) -> Unit:
        """What a pass is counted in, under the changes."""
        p = self._changed.get("pass", id_)
        return p.unit if isinstance(p, Pass) else Unit.USE

    def offer(self, id_: str) -> str:
        """An offer's name, or id."""
        return self._records("offer", id_).name_of("offer", id_)

    def way(self, told: Told) -> str:
        """The door, or the way without one; with the location, where there are several."""
        records = self._records("door", told.door)
        way = WAYS.get(told.channel) or records.name_of("door", told.door)
        if len(self._base.by_kind["location"]) == 1:
            return way
        return f"{self._base.name_of('location', told.location)}, {way}"

    def zone(self, location_id: str | None) -> str:
        """The time zone of a location."""
        location = self._base.get("location", location_id)
        return location.timezone if isinstance(location, Location) else "UTC"

    def local(self, told: Told) -> datetime:
        """When a tap was, by the clock on the wall there."""
        return told.at.astimezone(ZoneInfo(self.zone(told.location)))
