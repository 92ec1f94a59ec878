"""The errors of the store, whichever database it is on."""


class StoreError(Exception):
    """The database said no; the batch was rolled back."""


class Transient(StoreError):
    """The same work may succeed when tried again: lock time-out, deadlock, lost connection, conflict."""


class LockTimeout(Transient):
    """Somebody did not give up a lock in time: what needs no such lock can go on."""


class CommitUnknown(StoreError):
    """COMMIT was sent and no answer came back: the batch may or may not be a fact."""


class ClockOutOfRange(ValueError):
    """Business time can not be moved so; the message is the predicate of a sentence."""


class StoreUnusable(Exception):
    """The database can not be opened as asked; the message is one sentence with the fix."""
