"""Settings that do not hold together refuse to start, and secrets stay out of sight."""

from __future__ import annotations

from typing import Any

import pytest

from kavach_core import create_kavach, lazy_kavach
from kavach_core.api.edge import Edge
from kavach_core.config import load_config
from kavach_core.errors import ConfigurationError, KavachError, RemoteNotAvailable
from kavach_core.resolvers import dev_user

SECRET = "correct-horse-battery-staple-canary"
DURATIONS = ("settle_within", "approval_lifetime", "answer_within", "session_idle", "session_lifetime", "fresh_for")


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "BASE_URL", "SECRET", "API_KEY", "URL"):
        monkeypatch.delenv(f"KAVACH_{name}", raising=False)


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_url": "https://app.example"},
        {"base_url": "https://app.example", "secret": "short"},
        {"base_url": "https://app.example", "secret": [SECRET, "short"]},
        {"base_url": "https://app.example", "secret": []},
        {"secret": "s" * 31},
        {"secret": ""},
        {"base_url": "http://app.example", "secret": SECRET},
        {"base_url": "app.example", "secret": SECRET},
        {"base_url": "ftp://localhost"},
        {"base_url": "https://app.example/path", "secret": SECRET},
        {"base_url": "https://user@app.example", "secret": SECRET},
        {"base_url": "https://app.example?x=1", "secret": SECRET},
        {"base_url": "https://app.example:99999", "secret": SECRET},
        {"base_url": "https://[app.example", "secret": SECRET},
        {"base_url": "https://@app.example", "secret": SECRET},
        {"base_url": "https://app..\u00e9", "secret": SECRET},
        {"base_url": ""},
        {"allowed_origins": ["http://app.example"]},
        {"allowed_origins": ["https://app.example"]},
        {"allowed_origins": [""]},
        {"base_url": "https://app.example", "secret": SECRET, "rp_id": "example"},
        {"rp_name": " "},
        {"trusted_proxies": ["10.0.0.0/8", "everyone"]},
        {"trusted_proxies": ["10.0.0.1/8"]},
        {"max_delegation_depth": 0},
        {"max_delegation_depth": 17},
        {"max_agents_per_owner": -1},
        {"refused_per_minute": 0},
        {"project": ""},
        {"project": "p" * 65},
        {"project": "a\x00"},
        {"session_idle": "0s"},
        {"session_lifetime": "forever"},
        {"database": ""},
        {"database": "mysql://x"},
        {"database": "sqlite://:memory:"},
        {"database": "postgresql+asyncpg://u:canary@h/d"},
    ],
    ids=str,
)
async def test_what_does_not_hold_together_refuses_to_start(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        await create_kavach(**wrong)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("remote", [{"api_key": "kv_live_x"}, {"url": "https://kavach.example"}])
def test_remote_mode_says_that_it_is_not_there(remote: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RemoteNotAvailable):
        load_config(**remote)
    ((name, value),) = remote.items()
    monkeypatch.setenv(f"KAVACH_{name.upper()}", value)
    with pytest.raises(RemoteNotAvailable):
        lazy_kavach()


def test_secrets_are_never_shown() -> None:
    config = load_config(
        database=f"postgresql://u:{SECRET}@h/d", base_url="https://app.example", secret=[SECRET, "old" * 20]
    )
    for text in (repr(config), str(config), f"{config}"):
        assert "canary" not in text and "oldold" not in text and "postgresql" not in text


def test_the_environment_speaks_where_arguments_are_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_config().database == "sqlite:///kavach.db"
    monkeypatch.setenv("KAVACH_DATABASE_URL", "postgresql://h/d")
    monkeypatch.setenv("KAVACH_BASE_URL", "https://App.example/")
    monkeypatch.setenv("KAVACH_SECRET", SECRET)
    config = load_config()
    assert (config.database, config.base_url, config.secret) == ("postgresql://h/d", "https://app.example", (SECRET,))
    assert load_config(database="sqlite:///x.db", base_url="http://localhost:8000").database == "sqlite:///x.db"
    monkeypatch.setenv("KAVACH_DATABASE_URL", "")
    with pytest.raises(ConfigurationError, match="empty"):
        load_config()


@pytest.mark.parametrize(
    "settings, origin, allowed",
    [
        ({}, "http://localhost:3000", True),
        ({}, "http://127.0.0.1", True),
        ({}, "https://app.example", False),
        ({}, "http://localhost.evil.example", False),
        ({}, "http://localhost:8000.evil.com", False),
        ({}, "http://localhost:8000@evil.com", False),
        ({}, "http://[::1]:3000", True),
        ({}, "null", False),
        ({"base_url": "https://app.example"}, "https://app.example", True),
        ({"base_url": "https://app.example"}, "https://app.example.evil", False),
        ({"base_url": "https://app.example"}, "http://app.example", False),
        ({"base_url": "https://app.example"}, "http://localhost:3000", False),
        ({"base_url": "https://app.example", "allowed_origins": ["https://b.example"]}, "https://b.example", True),
        ({"base_url": "https://app.example:443"}, "https://app.example", True),
        ({"base_url": "https://app.example:8443"}, "https://app.example:8443", True),
        ({"base_url": "http://localhost:80"}, "http://localhost", True),
        ({"base_url": "http://[::1]:8000"}, "http://[::1]:8000", True),
        ({"base_url": "https://m\u00fcnchen.example"}, "https://xn--mnchen-3ya.example", True),
    ],
)
def test_origins_come_from_the_configuration_alone(settings: dict[str, Any], origin: str, allowed: bool) -> None:
    assert load_config(secret=SECRET, **settings).allows_origin(origin) is allowed


def test_passkeys_belong_to_the_host_as_browsers_compare_it() -> None:
    assert load_config(base_url="https://m\u00fcnchen.example", secret=SECRET).rp_id == "xn--mnchen-3ya.example"
    config = load_config(base_url="https://a.m\u00fcnchen.example", secret=SECRET, rp_id="M\u00fcnchen.example")
    assert config.rp_id == "xn--mnchen-3ya.example"


def test_one_error_class_has_one_code() -> None:
    with pytest.raises(TypeError, match="share the code"):
        type("Another", (KavachError,), {"code": "NOT_FOUND"})
    with pytest.raises(TypeError, match="needs a code"):
        type("Nameless", (KavachError,), {})


@pytest.mark.parametrize(
    "settings",
    [
        {"trusted_proxy": ["10.0.0.0/8"]},
        {"max_agents": 1},
        {"skip_migration": True},
        {"redact": "token"},
        {"trusted_proxies": "10.0.0.0/8"},
        {"allowed_origins": "https://a.example"},
        {"redact": None},
        {"trusted_proxies": [10]},
        {"passwords": "false"},
        {"sign_up": "no"},
        {"verify_email": None},
        {"skip_migrations": 1},
        {"attempts_per_account": "10"},
        {"attempts_per_address": True},
        {"rp_name": None},
        {"base_url": b"https://app.example"},
        {"send_email": "smtp://mail"},
        {"clock": 5},
        {"cost_unit": 1},
        {"cost_unit": " "},
        {"cost_unit": "c\n"},
        {"cost_unit": "x" * 33},
        *({"max_waiting": wrong} for wrong in (True, 1.5, None, "10", 0, -1)),
        *({name: wrong} for name in DURATIONS for wrong in (None, True, 1.5, "", "5", "0s", "soon", 0, "600w")),
        *({name: ["keep"]} for name in ("unsettled", "user_verification")),
        *({"secret": wrong} for wrong in (5, False, SECRET.encode(), [None])),
        *({name: 0} for name in ("attempts_per_account", "attempts_per_address")),
    ],
    ids=str,
)
def test_what_is_misspelt_or_no_list_refuses_to_start(settings: Any) -> None:
    """Taken for nothing, it would leave unprotected what it was to protect; a text would be a list of letters."""
    for start in (load_config, lazy_kavach):
        with pytest.raises(ConfigurationError, match=next(iter(settings))):
            start(**settings)


@pytest.mark.parametrize(
    "options",
    [
        {"humans_from": "cookie"},
        {"resolve_user": "alice"},
        {"resolve_user": dev_user("")},
        {"resolve_user": dev_user("a\0")},
        {"mount": "api/kavach"},
        {"mount": "/"},
        {"mount": "/:tenant"},
        {"mount": None},
    ],
    ids=str,
)
def test_what_an_adapter_cannot_work_with_refuses_to_start(options: Any) -> None:
    """The guard lets every path of the mount pass: were that the root, nothing would be guarded."""
    with pytest.raises(ConfigurationError):
        Edge(lazy_kavach(database="sqlite:///never.db"), **options)
