"""The guard in front of each framework's real router: no request reaches a secret, and no ordinary one is turned away.

The targets are random. Whatever a router makes of one is taken as it is: only what comes back tells where it went. The
same search is made against a naive guard, where it has to find a way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from litestar import Litestar, asgi
from quart import Quart
from starlette.applications import Starlette
from starlette.routing import Mount

from kavach_core import lazy_kavach
from tests.adapters.sites import FORMS, OPEN, OPEN_PATHS, SECRET, SECRET_PATHS, SITES, Naive, Site, write_files
from tests.adapters.targets import (
    HOSTILE,
    OPEN_TARGETS,
    OTHER_TARGETS,
    ROOT_PATHS,
    SERVERS,
    Sent,
    Server,
    ask,
    granian,
    hypercorn,
)

PREFIX = "/v1"

EXAMPLES = pytest.mark.parametrize(
    "examples", [40, pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.timeout(1800)])]
)


class Places:
    """One site in every place it can stand in, each with a guard in front, and without one."""

    def __init__(self, framework: str, files: Path) -> None:
        self._build = SITES[framework]
        self._files = files
        self._runner = asyncio.Runner()
        names = ["alone", "under a Starlette mount", "under a Litestar mount"]
        names += ["as its middleware"] if framework in ("starlette", "fastapi", "quart") else []
        names += ["with its own prefix"] if framework in ("fastapi", "litestar") else []
        #: Apps by place and form of guard; the form is None for the bare one.
        self.apps = {(name, form): self._placed(name, form) for name in names for form in (*FORMS, None)}

    def ask(self, place: str, form: str | None, sent: Sent) -> tuple[int, str]:
        """Send a request to the site in a place."""
        return self._runner.run(ask(self.apps[place, form], sent))

    def close(self) -> None:
        """Close the loop."""
        self._runner.close()

    def naive(self, sent: Sent) -> str:
        """What the site alone gives away behind a naive guard."""
        return self._runner.run(ask(Naive(self.apps["alone", None]), sent))[1]

    def _placed(self, place: str, form: str | None) -> Any:
        get_kavach = lazy_kavach(database="sqlite:///never.db")
        own_prefix = PREFIX if place == "with its own prefix" else ""
        site = self._build(get_kavach, self._files, own_prefix)
        if place == "as its middleware" and form is not None:
            return _with_middleware(site, form)
        # A mount of Litestar's takes its prefix off the path and tells nobody.
        more = {"prefixes": [PREFIX]} if place == "under a Litestar mount" else {}
        app = site.app if form is None else site.guarded(form, **more)
        if place == "under a Starlette mount":
            return Starlette(routes=[Mount(PREFIX, app)])
        if place == "under a Litestar mount":
            mount = asgi(PREFIX, is_mount=True, copy_scope=True)(app)
            return Litestar([mount], openapi_config=None, logging_config=None)
        return app


def _with_middleware(site: Site, form: str) -> Any:
    if isinstance(site.app, Quart):
        site.app.asgi_app = site.kv.Guard(site.app.asgi_app, **FORMS[form])  # type: ignore[method-assign]
    else:
        site.app.add_middleware(site.kv.Guard, **FORMS[form])
    return site.app


def prefix_of(place: str) -> str:
    """What a client has to put before a path of the site."""
    return "" if place in ("alone", "as its middleware") else PREFIX


@pytest.fixture(params=SITES, scope="module")
def places(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    """The site in one framework; the test runs once for each."""
    found = Places(request.param, write_files(tmp_path_factory.mktemp("files")))
    yield found
    found.close()


def test_the_sites_are_what_they_are_said_to_be(places: Places) -> None:
    """What is secret is there to be found, and known to the guard; what is open is open."""
    for place, form in places.apps:
        for path in SECRET_PATHS:
            kind = "websocket" if path == "/dashboard/ws" else "http"
            status, body = places.ask(place, form, Sent(prefix_of(place) + path, hypercorn, kind=kind))
            if form is not None:
                assert status == 401 and SECRET not in body, (place, form, path)
            elif place != "under a Litestar mount":
                assert SECRET in body, (place, path)
        for path in OPEN_PATHS:
            status, body = places.ask(place, form, Sent(prefix_of(place) + path, hypercorn))
            # Below a mount of Litestar's a path gets a slash at its end, which not every router takes.
            assert body == OPEN or (place == "under a Litestar mount" and status not in (401, 500)), (place, form, path)


@EXAMPLES
def test_nothing_secret_is_reached_without_identity(places: Places, examples: int) -> None:
    @settings(max_examples=examples)
    @given(sent=HOSTILE)
    def check(sent: Sent) -> None:
        for place, form in places.apps:
            if form is not None:
                status, body = places.ask(place, form, sent)
                assert SECRET not in body, f"{place}, guarded by {form}, gave it away with {status}"

    check()


def test_the_search_finds_its_way_around_a_naive_guard(places: Places) -> None:
    """The negative control: a search that finds nothing proves something only if it can find something."""
    quick = settings(max_examples=2_000, phases=[Phase.generate], derandomize=True, database=None)
    found = find(HOSTILE, lambda sent: SECRET in places.naive(sent), settings=quick)
    assert SECRET in places.naive(found)


@EXAMPLES
def test_ordinary_requests_are_answered_as_without_a_guard(places: Places, examples: int) -> None:
    @settings(max_examples=examples // 2)
    @given(
        open_target=OPEN_TARGETS,
        other_target=OTHER_TARGETS,
        server=st.sampled_from(SERVERS),
        root_path=st.sampled_from(ROOT_PATHS),
        is_stripped=st.booleans(),
    )
    def check(open_target: str, other_target: str, server: Server, root_path: str, is_stripped: bool) -> None:
        front = "" if is_stripped or server not in (hypercorn, granian) else root_path.rstrip("/")
        for place, form in places.apps:
            if form is not None:
                sent = Sent(front + prefix_of(place) + open_target, server, root_path)
                expected = places.ask(place, None, sent)
                # Some servers and routers do not find each other below a root path, with a guard or without.
                assert expected[0] == 404 or places.ask(place, form, sent) == expected, (place, form, open_target)
            if form == "protect":
                sent = Sent(front + prefix_of(place) + other_target, server, root_path)
                assert places.ask(place, form, sent) == places.ask(place, None, sent), (place, other_target)

    check()
