"""An app with a sign-in of its own, and Kavach's next to it. In the root of the repository:

    python -m pip install ".[demo]"
    python -m uvicorn examples.own_auth_app.main:app

Two cookies live side by side. The app's own, `own_session`, says who is signed in to the app; Kavach's, which exists
only where Kavach's sign-in is used, says who is signed in there. Each has its own name, is set and removed by its own
side, and neither is read by the other. Where both are there the app's counts: `humans_from="session"` would turn that.
"""

import secrets
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from pydantic import BaseModel

from kavach_adapters import kavach_fastapi
from kavach_core import HumanIdentity, lazy_kavach
from kavach_core.resolvers import View, on_sign_in

OWN_COOKIE = "own_session"
PASSWORDS = {"alice": "wonderland", "bob": "builder", "carol": "christmas"}  # stands for the app's table of users
own_sessions: dict[str, str] = {}  # stands for its table of sessions: token -> user

get_kavach = lazy_kavach()  # KAVACH_DATABASE_URL, or else the file kavach.db; opened by the first call


async def own_user(view: View) -> str | None:
    """The user of the app's own cookie. Of two different ones it cannot be told whose is whose."""
    tokens = view.cookies(OWN_COOKIE)
    return own_sessions.get(tokens[0]) if len(tokens) == 1 else None


async def first_agent(owner_id: str) -> None:
    """Give everybody an agent when they first come. Called again, by whomever and when, it finds the one there is."""
    kavach = await get_kavach()
    await kavach.agents.ensure(owner_id=owner_id, name="default", permissions=["read:notes"])


kv = kavach_fastapi(get_kavach, resolve_user=on_sign_in(own_user, first_agent), grantable=["read:notes"])

app = FastAPI(title="Notes")
app.include_router(kv.router, prefix="/api/kavach")
app.include_router(kv.well_known)
app.add_middleware(kv.Guard, protect=["/notes/:path*"], login="/login")


class Credentials(BaseModel):
    name: str
    password: str


@app.get("/login")
async def login() -> dict[str, str]:
    """Where the guard sends browsers, with `next` to come back to."""
    return {"hint": "The sign-in page of your app comes here, and posts a name and a password to this address."}


@app.post("/login", status_code=204)
async def log_in(credentials: Credentials, response: Response) -> None:
    """The app's own sign-in: Kavach knows nothing of it but what `own_user` says."""
    user = recognise(credentials)
    token = secrets.token_urlsafe()
    own_sessions[token] = user
    response.set_cookie(OWN_COOKIE, token, httponly=True, samesite="lax", secure=get_kavach.config.is_https)


@app.post("/logout", status_code=204)
async def log_out(request: Request, response: Response) -> None:
    """Ends the app's session and leaves Kavach's alone."""
    own_sessions.pop(request.cookies.get(OWN_COOKIE, ""), None)
    response.delete_cookie(OWN_COOKIE)


@app.post("/kavach/login", status_code=204)
async def log_in_with_kavach(credentials: Credentials, response: Response) -> None:
    """A session of Kavach's own, in Kavach's own cookie, for somebody whom this app has just recognised."""
    user = recognise(credentials)
    kv.set_session(response, await (await get_kavach()).sessions.create(user))


@app.get("/notes/mine")
async def notes(user: Annotated[HumanIdentity, Depends(kv.human)]) -> dict[str, list[str] | str]:
    """Whoever is signed in on either side."""
    agents = await (await get_kavach()).agents.list(owner_id=user.id)
    return {"user": user.id, "agents": [agent.name for agent in agents]}


@app.get("/sessions/mine")
async def sessions(request: Request) -> dict[str, str | None]:
    """Who each of the two cookies says is there."""
    session = await kv.session(request)
    own = own_sessions.get(request.cookies.get(OWN_COOKIE, ""))
    return {"own": own, "kavach": None if session is None else session.user_id}


def recognise(credentials: Credentials) -> str:
    """The user of a name and password."""
    wanted = PASSWORDS.get(credentials.name, secrets.token_hex())
    if not secrets.compare_digest(wanted.encode(), credentials.password.encode()):
        raise HTTPException(401, "No such name and password.")
    return credentials.name
