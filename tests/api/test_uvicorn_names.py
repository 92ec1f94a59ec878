"""The names of uvicorn and httptools that are not public and that ``api/http/protocol.py`` leans on.

A release that moves one fails here, by its name, and not in a request that is answered wrongly.
"""

import ast
import inspect

import pytest
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from opentill.api.http import protocol

OVERRIDDEN = {
    "on_message_begin": ["self"],
    "on_headers_complete": ["self"],
    "_start_asgi_task": ["self", "cycle", "app"],
    "data_received": ["self", "data"],
    "send_400_response": ["self", "msg"],
    "shutdown": ["self"],
}
"""Methods of the protocol that we put our own before, with their parameters."""
OF_PROTOCOL = {"app_state", "cycle", "flow", "headers", "parser", "pipeline", "scope", "transport"}
OF_CYCLE = {
    "disconnected",
    "flow",
    "keep_alive",
    "message_event",
    "more_body",
    "on_response",
    "response_complete",
    "response_started",
    "scope",
    "transport",
    "waiting_for_100_continue",
}
OF_FLOW = {"write_paused", "drain", "pause_reading"}
OF_OTHERS = {
    "abort", "close", "is_closing", "write",  # of asyncio's transport
    "get_http_version",  # of the parser
    "set",  # of the event
}  # fmt: skip


def attributes_set(cls: type) -> set[str]:
    """The names that a class sets on itself or defines."""
    tree = ast.parse(inspect.getsource(cls))
    set_on_self = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }
    return set_on_self | set(vars(cls))


@pytest.mark.parametrize(("method", "parameters"), OVERRIDDEN.items(), ids=list(OVERRIDDEN))
def test_uvicorn_still_has_what_is_overridden(method: str, parameters: list[str]) -> None:
    """The protocol has each method that we put our own before, with the same parameters."""
    assert list(inspect.signature(getattr(HttpToolsProtocol, method)).parameters) == parameters


@pytest.mark.parametrize(
    ("cls", "names"),
    [(HttpToolsProtocol, OF_PROTOCOL), (RequestResponseCycle, OF_CYCLE), (FlowControl, OF_FLOW)],
    ids=["protocol", "cycle", "flow"],
)
def test_uvicorn_still_has_what_is_read(cls: type, names: set[str]) -> None:
    """Each attribute that we read or set is one that uvicorn itself sets or defines."""
    assert names - attributes_set(cls) == set()


def test_no_other_name_is_leant_on() -> None:
    """Whatever ``protocol.py`` takes of the objects of uvicorn stands in one of the lists above."""
    tree = ast.parse(inspect.getsource(protocol))
    of_python = {"value", "phrase", "encode", "join", "body", "get", "append", "strip"}
    ours = set(vars(protocol.EnvelopeProtocol)) | of_python
    taken = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert taken - ours == (OF_PROTOCOL | OF_CYCLE | OF_FLOW | OF_OTHERS) - ours
