"""Errors: why the engine could not answer. They are faults of the server, never refusals."""


class EngineError(Exception):
    """The command was not carried out, or it is not known whether it was."""


class Overloaded(EngineError):
    """The queue is full or the server is stopping; nothing was accepted. Try again later."""

    retry_after_seconds = 1


class OutcomeUnknown(EngineError):
    """The commit's answer was lost and could not be found out in time; asking again tells."""


class CommandFailed(EngineError):
    """The command alone makes the database fail; it was not carried out."""
