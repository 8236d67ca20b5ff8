"""What can be wrong with the store; every one of these is an operating error."""

from edgegate.ports import OperatingError


class StoreError(OperatingError):
    """The store cannot do what was asked of it."""


class StorageFailedError(StoreError):
    """Nothing of what was asked is on record; the request is refused with `storage_failed`."""


class QueueFullError(StoreError):
    """More jobs wait for the database thread than it allows; the job was not taken."""


class StoreClosedError(StoreError):
    """The database thread is not running; the job was not taken."""


class StoreInUseError(StoreError):
    """Another process holds the state directory; the message names its pid."""


class StoreUnavailableError(StoreError):
    """The store cannot be opened: its disk is full, read-only, absent or failing."""


class SchemaTooNewError(StoreError):
    """A file was written by a newer edgegate than this one; it was not touched."""
