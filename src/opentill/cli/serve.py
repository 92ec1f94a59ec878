"""``opentill serve``: check, prepare, listen, announce, and stop when told to."""

import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Annotated, Final

import uvicorn
from cyclopts import Parameter
from uvicorn.supervisors import Multiprocess

from opentill import observe
from opentill.app import App, create_app
from opentill.bootstrap import Bootstrap, prepare
from opentill.cli.credentials_block import SANDBOX_ENV_FILE, sandbox_block
from opentill.cli.preflight import OperatorError, Where, check_folder, listen_on, operator_errors
from opentill.clock import RandomIds
from opentill.keys.provisioning import ensure_default_merchant, write_env_file
from opentill.operating import demo_link
from opentill.settings import Settings, load_settings
from opentill.store.accounts.contract import Mode

BACKLOG_CONNECTIONS: Final = 2048
STARTED_FAILED: Final = 3
SUPERVISOR_SECONDS: Final = 0.5
"""How often uvicorn's supervisor looks for signals: what it may take from the time to stop."""
STARTING_SECONDS: Final = 60
"""How long workers may take to start before they are announced; one that ends is not waited for."""

Announce = Callable[[], None]


def serve(
    *,
    host: str | None = None,
    port: int | None = None,
    workers: int | None = None,
    allow_public_sandbox: Annotated[bool | None, Parameter(negative="")] = None,
    where: Where | None = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Args:
        host: Address to listen on.
        port: TCP port to listen on; 0 takes any free one.
        workers: Server processes.
        allow_public_sandbox: Let a sandbox listen on an address other than loopback.
        where: Which database.
    """
    with operator_errors():
        settings = (where or Where()).settings(
            {"host": host, "port": port, "workers": workers, "allow_public_sandbox": allow_public_sandbox}
        )
        observe.configure(settings.log_level)
        check_folder(settings.data_dir)
        listener = listen_on(settings.host, settings.port)
        settings = settings.bound_to(listener.getsockname()[1])
        block = _prepare(settings)
    _exit_cleanly_on_signals()
    run = _run_workers if settings.workers > 1 else _run_here
    run(settings, listener, lambda: _print(block))


def _prepare(settings: Settings) -> str:
    """Make the store and the default merchant ready; returns what to print once the server answers."""
    bootstrap = prepare(settings)
    try:
        if settings.mode is Mode.LIVE:
            return f"opentill live at {settings.public_url}\n"
        return _prepare_sandbox(settings, bootstrap)
    finally:
        bootstrap.store.close()


def _prepare_sandbox(settings: Settings, bootstrap: Bootstrap) -> str:
    clock, ids = bootstrap.clock, RandomIds()
    credentials = ensure_default_merchant(
        bootstrap.store, bootstrap.keyring, clock, ids, url=settings.public_url
    )
    env_file = settings.data_dir / SANDBOX_ENV_FILE
    try:
        write_env_file(env_file, credentials)
    except OSError as error:
        raise OperatorError(
            f"{env_file} can not be written ({error.strerror}); remove what is there."
        ) from None
    return sandbox_block(credentials, Path(os.path.relpath(env_file)), demo_link(bootstrap, clock, ids))


def _print(block: str) -> None:
    sys.stdout.write("\n" + block)
    sys.stdout.flush()


def _run_here(settings: Settings, listener: socket.socket, announce: Announce) -> None:
    app = create_app(settings)
    config = _config(settings, app, grace_seconds=settings.shutdown_seconds)
    _Server(config, announce).run([listener])


def worker_app() -> App:
    """Make the application of one of several worker processes, with settings from the environment."""
    settings = load_settings()
    observe.configure(settings.log_level)
    threading.Thread(target=_stop_with_the_supervisor, daemon=True).start()
    return create_app(settings)


def _stop_with_the_supervisor() -> None:
    """Stop a worker whose supervisor was killed: it would serve on unseen and keep the port."""
    supervisor = multiprocessing.parent_process()
    if supervisor is not None:
        supervisor.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _run_workers(settings: Settings, listener: socket.socket, announce: Announce) -> None:
    os.environ.update(settings.to_environment())  # from here the workers have their settings
    grace_seconds = settings.shutdown_seconds - SUPERVISOR_SECONDS
    config = _config(settings, "opentill.cli.serve:worker_app", grace_seconds=grace_seconds)
    supervisor = _Supervisor(config, [listener], announce)
    supervisor.run()
    if any(each.process.exitcode == STARTED_FAILED for each in supervisor.processes):
        sys.exit(1)


def _config(settings: Settings, app: object, *, grace_seconds: float) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type] # an ASGI callable or the name of its factory
        factory=isinstance(app, str),
        loop="uvloop",
        http="opentill.api.http.protocol:EnvelopeProtocol",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        workers=settings.workers,
        backlog=BACKLOG_CONNECTIONS,
        timeout_graceful_shutdown=grace_seconds,  # type: ignore[arg-type] # it is only waited for
    )


def _exit_cleanly_on_signals() -> None:
    """Take a signal for success: Uvicorn raises the one that stopped it once more, when all is done."""

    def leave(_number: int, _frame: FrameType | None) -> None:
        sys.exit(0)

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)


class _Server(uvicorn.Server):
    """A server that says when it really accepts requests."""

    def __init__(self, config: uvicorn.Config, announce: Announce) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._announce()


class _Supervisor(Multiprocess):
    """A supervisor that says when all workers accept requests."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket], announce: Announce) -> None:
        super().__init__(config, sockets)
        self._announce = announce

    def init_processes(self) -> None:
        super().init_processes()
        if all(each.wait_until_ready(STARTING_SECONDS, self.should_exit) for each in self.processes):
            self._announce()
