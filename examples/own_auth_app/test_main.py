"""The example does what it says."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from examples.own_auth_app.main import app, get_kavach, own_sessions

ORIGIN = {"Origin": "http://localhost:8000"}
ALICE = {"name": "alice", "password": "wonderland"}
BOB = {"name": "bob", "password": "builder"}
KAVACH = get_kavach.config.session_cookie


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """The app with its kavach.db in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    with TestClient(app, base_url="http://localhost:8000") as client:
        yield client
    own_sessions.clear()


def who(client: TestClient) -> str | None:
    """Who the app's pages think is there."""
    answer = client.get("/notes/mine", headers={"Accept": "application/json"})
    return answer.json()["user"] if answer.status_code == 200 else None


def test_the_apps_own_sign_in_is_enough(client: TestClient) -> None:
    assert who(client) is None
    assert client.post("/login", json={**ALICE, "password": "guessed"}).status_code == 401
    assert client.post("/login", json=ALICE).status_code == 204
    assert set(client.cookies) == {"own_session"}, "Kavach's cookie exists only if its own sign-in is used"
    assert who(client) == "alice"
    made = client.post("/api/kavach/agents", headers=ORIGIN, json={"name": "mine", "permissions": ["read:notes"]})
    assert made.json()["ownerId"] == "alice"


def test_both_cookies_live_and_neither_steps_on_the_other(client: TestClient) -> None:
    client.post("/login", json=ALICE)
    client.post("/kavach/login", json=BOB)
    assert set(client.cookies) == {"own_session", KAVACH}
    assert client.get("/sessions/mine").json() == {"own": "alice", "kavach": "bob"}
    assert who(client) == "alice"

    client.post("/logout")
    assert client.get("/sessions/mine").json() == {"own": None, "kavach": "bob"}
    assert who(client) == "bob"

    client.post("/login", json=ALICE)
    mine = client.get("/api/kavach/sessions", headers=ORIGIN)
    assert mine.status_code == 200
    client.cookies.delete(KAVACH)
    assert client.get("/sessions/mine").json() == {"own": "alice", "kavach": None}
    assert who(client) == "alice"


def test_signing_out_of_kavach_ends_its_session_whoever_the_app_says_is_there(client: TestClient) -> None:
    """Or it would be there again as soon as somebody leaves the app, who believes to have left both."""
    client.post("/login", json=ALICE)
    client.post("/kavach/login", json=BOB)
    token = client.cookies[KAVACH]
    assert client.post("/api/kavach/sign-out", headers={"Origin": "https://elsewhere.example"}).status_code == 403
    assert client.get("/sessions/mine").json() == {"own": "alice", "kavach": "bob"}
    assert client.post("/api/kavach/sign-out", headers=ORIGIN).status_code == 204
    assert set(client.cookies) == {"own_session"} and who(client) == "alice"
    client.post("/logout")
    client.cookies.set(KAVACH, token)
    assert client.get("/sessions/mine").json() == {"own": None, "kavach": None}
    assert who(client) is None


def test_a_browser_that_the_guard_sends_to_sign_in_finds_a_page(client: TestClient) -> None:
    sent = client.get("/notes/mine", headers={"Accept": "text/html"})
    assert (sent.status_code, sent.url.path, sent.url.query) == (200, "/login", b"next=%2Fnotes%2Fmine")


def test_a_revoked_session_of_kavach_leaves_the_apps_alone(client: TestClient) -> None:
    client.post("/kavach/login", json=BOB)
    assert who(client) == "bob"
    (session,) = client.get("/api/kavach/sessions").json()
    assert client.delete(f"/api/kavach/sessions/{session['id']}", headers=ORIGIN).status_code == 204
    assert who(client) is None
    client.post("/login", json=BOB)
    assert client.get("/sessions/mine").json() == {"own": "bob", "kavach": None}
    assert who(client) == "bob"


def test_the_first_agent_is_made_once(client: TestClient) -> None:
    client.post("/login", json={"name": "carol", "password": "christmas"})
    for _ in range(3):
        assert client.get("/notes/mine").json() == {"user": "carol", "agents": ["default"]}
