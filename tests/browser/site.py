"""A real app under uvicorn, and people who use it with Chromium and an authenticator of their own."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import uvicorn
from fastapi import Depends, FastAPI, Response
from playwright.async_api import Browser, BrowserContext, CDPSession, ConsoleMessage, Page, expect

from kavach_adapters import kavach_fastapi
from kavach_core import Kavach, lazy_kavach

GRANTABLE: Final = (
    "read:repos",
    "write:comments",
    {"resource": "files:**", "actions": ["read"], "constraints": {"maxCallsPerHour": 100}},
)
#: Long enough for a stalled machine; nothing waits for it that goes right.
PATIENCE: Final = 10_000

_HOST_PAGE: Final = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Host</title>
<link rel="icon" href="data:,"></head>
<body><h1>Host</h1><a href="http://localhost:{port}/api/kavach/account">My account</a></body></html>"""
#: Under which the modules must work when an app's own page uses them.
STRICT: Final = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; img-src data:; require-trusted-types-for 'script'"
)
#: Runs before the scripts of each page: what its policy refuses, and any error, reaches the test.
_WATCH: Final = """
addEventListener("securitypolicyviolation", (e) => console.error(`VIOLATION ${e.violatedDirective} ${e.blockedURI}`));
addEventListener("unhandledrejection", (e) => console.error(`VIOLATION unhandled ${e.reason}`));
const { get } = globalThis.CredentialsContainer?.prototype ?? {};
if (get) CredentialsContainer.prototype.get = function (options) {
  if (options?.mediation === "conditional") document.documentElement.dataset.autofill = "waits";
  return get.call(this, options);
};
"""


class MovableClock:
    """The time of the machine, which a test may put forward."""

    def __init__(self) -> None:
        self._ahead = 0

    def __call__(self) -> int:
        return time.time_ns() // 1000 + self._ahead

    def advance(self, *, minutes: int) -> None:
        """Put it forward."""
        self._ahead += minutes * 60_000_000


@dataclass(slots=True, kw_only=True)
class Site:
    """The running app."""

    port: int
    kavach: Kavach
    clock: MovableClock
    #: Links of the mails that were sent.
    mails: list[str] = field(default_factory=list[str])

    @property
    def origin(self) -> str:
        """Where people find it."""
        return f"http://localhost:{self.port}"

    @property
    def mount(self) -> str:
        """Where its Kavach is."""
        return f"{self.origin}/api/kavach"


@dataclass(slots=True, kw_only=True)
class Person:
    """Somebody with one browser profile, one page and one authenticator."""

    site: Site
    context: BrowserContext
    page: Page
    cdp: CDPSession
    authenticator: str
    #: What went wrong in the page that no test expects.
    faults: list[str] = field(default_factory=list[str])

    async def open(self, path: str) -> None:
        """Open one of Kavach's pages."""
        await self.page.goto(f"{self.site.mount}/{path}")

    async def sign_up(self, email: str = "") -> None:
        """Make an account and arrive on its page."""
        await self.open("sign-in#sign-up")
        await self.page.get_by_label("E-mail").locator("visible=true").fill(email)
        await self.page.get_by_role("button", name="Create account with a passkey").click()
        await self.arrives_on_account()

    async def arrives_on_account(self) -> None:
        """Wait for the account page with everything on it."""
        await expect(self.page).to_have_url(f"{self.site.mount}/account")
        await self.sees_sections()

    async def user_id(self) -> str:
        """Who they are, on a page of Kavach."""
        return str((await self.page.evaluate("fetch('session').then((answer) => answer.json())"))["userId"])

    async def sees_sections(self) -> None:
        """Wait until nothing on the account page is loading."""
        await expect(self.page.get_by_role("heading", name="Account", exact=True)).to_be_visible()
        await expect(self.page.locator("section[aria-busy=true]")).to_have_count(0)

    async def sign_out(self) -> None:
        """Sign out and arrive on the sign-in page, whose autofill waits for nobody."""
        await self.touches(False)
        await self.page.get_by_role("button", name="Sign out", exact=True).click()
        await expect(self.page.get_by_role("heading", name="Sign in")).to_be_visible()
        if await self.page.evaluate("PublicKeyCredential.isConditionalMediationAvailable()"):
            # Or it might be autofill that is touched next.
            await expect(self.page.locator("html[data-autofill=waits]")).to_be_attached()

    async def touches(self, at_once: bool) -> None:
        """Whether the authenticator is touched as soon as the next request asks."""
        await self.cdp.send(
            "WebAuthn.setAutomaticPresenceSimulation", {"authenticatorId": self.authenticator, "enabled": at_once}
        )

    async def takes_another_device(self, **options: Any) -> None:
        """Put the authenticator away and take a new one."""
        await self.cdp.send("WebAuthn.removeVirtualAuthenticator", {"authenticatorId": self.authenticator})
        self.authenticator = await add_authenticator(self.cdp, **options)


#: Makes somebody new: `await meet_person(at=site, authenticator=..., viewport=...)`.
Meet = Callable[..., Awaitable[Person]]


async def add_authenticator(cdp: CDPSession, **options: Any) -> str:
    """Give a page an authenticator that verifies its user, and return its id."""
    asked = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
        **options,
    }
    added = await cdp.send("WebAuthn.addVirtualAuthenticator", {"options": asked})
    return str(added["authenticatorId"])


async def meet(browser: Browser, site: Site, authenticator: dict[str, Any] | None = None, **options: Any) -> Person:
    """Somebody new, on an empty page."""
    context = await browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
    context.set_default_timeout(PATIENCE)
    await context.add_init_script(_WATCH)
    page = await context.new_page()
    cdp = await context.new_cdp_session(page)
    await cdp.send("WebAuthn.enable", {"enableUI": False})
    person = Person(
        site=site,
        context=context,
        page=page,
        cdp=cdp,
        authenticator=await add_authenticator(cdp, **(authenticator or {})),
    )

    def note(message: ConsoleMessage) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            person.faults.append(message.text)

    context.on("console", note)
    context.on("weberror", lambda error: person.faults.append(str(error.error)))
    return person


@asynccontextmanager
async def serve(directory: Path, **settings: Any) -> AsyncGenerator[Site]:
    """Serve an app on this machine, with whatever settings of Kavach."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    clock, mails = MovableClock(), list[str]()
    grantable = settings.pop("grantable", GRANTABLE)

    async def send_email(mail: Any) -> None:
        mails.append(mail.link)

    if settings.pop("mails", True):
        settings |= {"base_url": f"http://localhost:{port}", "send_email": send_email}
    get_kavach = lazy_kavach(
        database=f"sqlite:///{directory / f'{port}.db'}",
        clock=clock,
        rp_name="Acme Notes",
        attempts_per_address=10_000,
        **settings,
    )
    app = _app(kavach_fastapi(get_kavach, grantable=grantable), port)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
    task = asyncio.create_task(server._serve(sockets=[listener]))
    try:
        while not server.started:
            if task.done():
                task.result()
            await asyncio.sleep(0.01)
        yield Site(port=port, kavach=await get_kavach(), clock=clock, mails=mails)
    finally:
        server.should_exit = True
        await task
        listener.close()


def _app(kv: Any, port: int) -> FastAPI:
    app = FastAPI()
    app.include_router(kv.router, prefix="/api/kavach")
    app.add_middleware(kv.Guard, protect=["/dashboard"], login="/api/kavach/sign-in")

    @app.get("/")
    @app.get("/dashboard")
    async def page() -> Response:
        policy = {"content-security-policy": STRICT}
        return Response(_HOST_PAGE.format(port=port), media_type="text/html", headers=policy)

    @app.get("/repos", dependencies=[Depends(kv.require("read:repos"))])
    async def repos() -> list[str]:
        return ["kavach"]

    return app
