"""The example does what it says."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from examples.litestar_app.main import app

ORIGIN = {"Origin": "http://localhost:8000"}


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """The app with its kavach.db in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    with TestClient(app, base_url="http://localhost:8000") as client:
        yield client


def test_an_agent_searches_until_it_is_revoked(client: TestClient) -> None:
    made = client.post("/agents/default", headers=ORIGIN).json()
    agent = {"Authorization": f"Bearer {made['token']}"}

    found = client.post("/search", headers=agent, json={"text": "lite"})
    assert found.json()["found"] == ["litestar"]
    assert found.json()["owner"] == "alice"

    assert client.delete(f"/api/kavach/agents/{made['agentId']}", headers=ORIGIN).status_code == 204
    refused = client.post("/search", headers=agent, json={"text": "lite"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "AGENT_REVOKED")

    trace = client.get(f"/api/kavach/agents/{made['agentId']}/trace").json()
    assert [entry["code"] for entry in trace] == ["ALLOWED", "AGENT_REVOKED"]


def test_a_body_that_is_no_query_is_400(client: TestClient) -> None:
    made = client.post("/agents/default", headers=ORIGIN).json()
    agent = {"Authorization": f"Bearer {made['token']}", "Content-Type": "application/json"}
    for body in (b"", b"{", b"null", b"[]", b"{}", b'{"text": 1}', b'{"text": null}', b"\xff"):
        assert client.post("/search", headers=agent, content=body).status_code == 400, body


def test_every_message_on_a_socket_is_decided(client: TestClient) -> None:
    made = client.post("/agents/default", headers=ORIGIN).json()
    agent = {"Authorization": f"Bearer {made['token']}"}
    with client.websocket_connect("/search", headers=agent) as socket:
        socket.send_text("uvi")
        assert socket.receive_json()["found"] == ["uvicorn"]
        client.delete(f"/api/kavach/agents/{made['agentId']}", headers=ORIGIN)
        socket.send_text("uvi")
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_json()
    assert (closed.value.code, closed.value.reason) == (4403, "AGENT_REVOKED")


def test_the_dashboard_is_for_humans(client: TestClient) -> None:
    made = client.post("/agents/default", headers=ORIGIN).json()
    assert [agent["id"] for agent in client.get("/dashboard/agents").json()] == [made["agentId"]]
    as_agent = client.get("/dashboard/agents", headers={"Authorization": f"Bearer {made['token']}"})
    assert (as_agent.status_code, as_agent.json()["error"]["code"]) == (403, "CALLER_NOT_ALLOWED")
