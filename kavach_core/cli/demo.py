"""`kavach demo`: a real app on this machine, and the whole story told to it over HTTP.

The app and its server are here, the story is in `demo_story`, how it looks in `demo_stage`.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from kavach_core.errors import ConfigurationError, KavachError
from kavach_core.primitives.principal import AgentIdentity, HumanIdentity

if TYPE_CHECKING:
    from fastapi import FastAPI

    from kavach_core.cli.demo_stage import Stage

OWNER: Final = "alice"
#: What an agent may do if its human agrees to each time.
CONSENT: Final = {"resource": "payments", "actions": ["send"], "constraints": {"requireApproval": True}}
_HOST: Final = "127.0.0.1"
_NEEDED: Final = ("fastapi", "httpx", "jinja2", "uvicorn", "webauthn")
#: Seconds that calls in flight have to end when the server stops.
_GRACE: Final = 5

# Not read from KAVACH_DATABASE_URL: the demo never writes to an app's own database unasked.
_Database = Annotated[
    str | None,
    typer.Option("--database", metavar="URL", help="Use this database; without it a file that is gone afterwards."),
]
_Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="Listen here; 0 takes a free port.")]
_Once = Annotated[bool, typer.Option("--once", help="End after the story; exit code 1 if any step is not as told.")]


def demo(once: _Once = False, port: _Port = 0, database: _Database = None) -> None:
    """Start an app on localhost, walk an agent's life through it over HTTP, and stay up to be called."""
    _require_extra()
    from kavach_core.cli.demo_stage import Stage
    from kavach_core.cli.demo_story import NotAsTold

    stage = Stage()
    try:
        with _place(database) as (url, where), _listening(port) as listener:
            _run(stage, listener, url, where, once=once)
    except NotAsTold as error:
        stage.broken(str(error))
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        stage.stopped()


def make_app(database: str, base_url: str) -> FastAPI:
    """The app of the story: one route for the human, four that an agent needs a permission for."""
    from fastapi import Depends, FastAPI

    from kavach_adapters import kavach_fastapi
    from kavach_core.lazy import lazy_kavach

    get_kavach = lazy_kavach(database=database, base_url=base_url, rp_name="Kavach demo")
    kv = kavach_fastapi(get_kavach, grantable=["read:repos", "read:issues", "write:comments", CONSENT])
    human, searching = Depends(kv.human), Depends(kv.require("read:repos"))
    commenting, deploying = Depends(kv.require("write:comments")), Depends(kv.require("write:deployments"))
    acting = Depends(kv.agent)
    app = FastAPI(title="kavach demo", exception_handlers={KavachError: kv.answer_error})
    app.include_router(kv.router, prefix="/api/kavach")

    @app.get("/me")
    async def me(user: HumanIdentity = human) -> dict[str, str]:
        return {"owner": user.id}

    @app.post("/search")
    async def search(agent: AgentIdentity = searching) -> dict[str, str | None]:
        return _did("searched", agent)

    @app.post("/comments")
    async def comment(agent: AgentIdentity = commenting) -> dict[str, str | None]:
        return _did("commented", agent)

    @app.post("/deployments")
    async def deploy(agent: AgentIdentity = deploying) -> dict[str, str | None]:
        return _did("deployed", agent)

    @app.post("/payments")
    async def pay(payment: dict[str, Any], agent: AgentIdentity = acting) -> dict[str, str | None]:
        # Here and not by `kv.require`, which knows the path alone: what is agreed to is this very payment.
        kavach = await get_kavach()
        paying = await kavach.require_authorized(agent, action="send", resource="payments", arguments=payment)
        return _did("paid", paying)

    return app


def _did(what: str, agent: AgentIdentity) -> dict[str, str | None]:
    return {"did": what, "for": agent.owner_id, "auditId": agent.audit_id}


def _run(stage: Stage, listener: socket.socket, database: str, where: str, *, once: bool) -> None:
    import httpx

    from kavach_core.cli.demo_story import Story
    from kavach_core.cli.demo_watch import watch
    from kavach_core.store.migrate import migrate

    # The app would do so itself; here a database that cannot be used is told in one line.
    asyncio.run(migrate(database))
    # By name: browsers make no passkeys for an address.
    base_url = f"http://localhost:{listener.getsockname()[1]}"
    stage.opening(base_url, where)
    with _serving(make_app(database, base_url), listener) as ended:
        with httpx.Client(base_url=base_url, timeout=30) as http:
            ending = Story(http, stage, owner=OWNER, consent=CONSENT).tell()
        if once:
            return
        stage.invitation(base_url, ending)
        asyncio.run(watch(database, base_url, stage, ended))


def _require_extra() -> None:
    """Raises `ConfigurationError` naming what is missing."""
    missing = [name for name in _NEEDED if not _is_installed(name)]
    if missing:
        raise ConfigurationError(f"The demo needs {', '.join(missing)}: pip install 'kavach-asgi[demo]'")


def _is_installed(name: str) -> bool:
    try:
        import_module(name)
    except ModuleNotFoundError:
        return False
    return True


@contextmanager
def _place(database: str | None) -> Generator[tuple[str, str]]:
    """The URL of the database, and in words what it is."""
    if database is not None:
        yield database, "your database"
        return
    with tempfile.TemporaryDirectory(prefix="kavach-demo-") as folder:
        yield f"sqlite:///{Path(folder) / 'kavach.db'}", "SQLite in a temporary file"


@contextmanager
def _listening(port: int) -> Generator[socket.socket]:
    """A socket that takes connections from now on, so that no call comes too early for the server."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((_HOST, port))
        except OSError as error:
            raise ConfigurationError(f"Port {port} cannot be used: {error.strerror}.") from None
        listener.listen()
        yield listener


@contextmanager
def _serving(app: FastAPI, listener: socket.socket) -> Generator[threading.Event]:
    """Serve the app in a thread of its own, and end it cleanly whatever happens in this one; tells when it has ended.

    A signal may come at any moment of waiting. It must not interrupt a `join`: before Python 3.13 a thread may count as
    ended after that while it still runs, and its database is closed under it.
    """
    import uvicorn

    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=_GRACE)
    server, ended = uvicorn.Server(config), threading.Event()

    def serve() -> None:
        try:
            server.run(sockets=[listener])
        finally:
            ended.set()

    thread = threading.Thread(target=serve, name="kavach-demo")
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    thread.start()
    try:
        yield ended
    finally:
        server.should_exit = True
        ended.wait()
        thread.join()
        signal.signal(signal.SIGTERM, before)
