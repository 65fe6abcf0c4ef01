"""Requests as somebody may write them who wants to get around a guard; `tests.adapters.sites` is what they are for."""

from __future__ import annotations

from typing import Final


def words(text: str) -> list[str]:
    """Targets are written one after another: no space can stand in one."""
    return text.split()


#: Targets that a guard which compares paths takes for something else, and that lead to a secret on any server.
REACHING: Final = {
    "starlette": words("""
        //files/secret.txt ///files//secret.txt /./files/secret.txt /%2e/files/secret.txt /%2Ffiles/secret.txt
        /static/../files/secret.txt /static/%2e%2e/files/secret.txt /static%2f..%2ffiles%2fsecret.txt
        /x/../vault/secret.txt /dashboard%0a /users/7/keys%0a
    """),
    "fastapi": words("//files/secret.txt /./files/secret.txt /x%2f..%2ffiles/secret.txt /users/7/keys%0a"),
    "litestar": words("""
        //dashboard /%2Fdashboard /users//7/keys/ /users/7/keys// /static/../files/secret.txt
        /innervault //innervault /inner%76ault /vaultsecret.txt /vault%73ecret.txt
        /inner/deepvault /innerdeepvault /inner//deep%76ault
    """),
    "quart": words("""
        //dashboard /%2fdashboard ///inner/vault http://h/dashboard http://h//users/7/keys
        http://h/users/;x/keys;y http:dashboard x:/dashboard %20/dashboard %09%20//h/dashboard#x
    """),
}

#: Further ways to write them, which must not lead there whether or not a server and router understand them.
WRITTEN: Final = [
    *words("""
        /dashboard /dashboard/ /vault/secret.txt /files/secret.txt /users/7/keys /inner/vault
        /%64ashboard /dashboard%2F /%2564ashboard /DASHBOARD /%EF%BD%84ashboard /%c0%afdashboard /%c0%ae/dashboard
        /dashboard;a=b /;a=b/dashboard /static/..;/dashboard /static/..%5cdashboard /dashboard\\ \\dashboard
        /dashboard. /dashboard%20 /dashboard%00 /dashboard%0a /dash%0dboard /dashboard%09
        /about%2f..%2fdashboard /about/..%00/dashboard /about?/../dashboard /about#/../dashboard
        /dashboard# /dashboard? /dashboard%3f /dashboard%23 ?/dashboard * dashboard ./dashboard ../dashboard
        http://h/dashboard HTTP://u:p@h:80/dashboard?a=/about http://h//dashboard http:/dashboard x:dashboard
        //h/dashboard /http://h/dashboard ftp://h/dashboard ://h/dashboard http://h\\dashboard http://h#/dashboard
        /api/kavach/../../dashboard /api/kavach%2f..%2f..%2fdashboard /login/../dashboard /\xc3\xa9/../dashboard
    """),
    *(target for targets in REACHING.values() for target in targets),
]

#: What may stand before a path under a root path `/gw`, or `/gw/`.
ROOTS: Final = ["", *words("/gw /gw/gw /GW /gw/ /x/gw /gwx/gw /gw/../gw /%67w http://h/gw //gw gw /gw;a")]
#: What leads to a secret below a mount, to a router that looks for the root path once more there.
BELOW_MOUNTS: Final = words("""
    /inner/gw/vault /inner/x/gw/vault /innerx/gw/vault /inner/deep/gw/vault /inner/x/gw/deepvault
    /inner/gw/inner/vault /inner/deep/gw/inner/deep/vault /inner/gw/deep/x/gw/vault
    /vault/gw/secret.txt /vault/x/gw/secret.txt
    /other/gw/vault /other/gw/other/vault /other/gw//other/vault /other/gw/othervault /other/x/gw/other/vault
""")

#: Headers that claim an identity.
CLAIMS: Final = (
    "x-user-id: alice",
    "X-User-Id: alice",
    "x_user_id: alice",
    "X_USER-ID: alice",
    "x-user-id: bob",
    "x-kavach-owner-id: alice",
    "X-Kavach-Kind: human",
    "x_kavach_kind: human",
    "X-KAVACH_IDENTITY: alice",
    "x-kavach-: alice",
)

#: Headers that some server, proxy or framework believes.
BELIEVED: Final = (
    "x-forwarded-user: alice",
    "remote-user: alice",
    "x-forwarded-prefix: /about",
    "x-forwarded-path: /about",
    "x-original-url: /about",
    "x-rewrite-url: /about",
    "x-script-name: /dashboard",
    "x-forwarded-host: localhost/about?",
    "x-forwarded-for: 127.0.0.1",
    "x-middleware-subrequest: middleware",
    "x-http-method-override: OPTIONS",
    "cookie: kv_session=x",
)

#: A page of another site asks whether it may ask, or somebody writes that it does.
PREFLIGHT: Final = ("origin: https://evil.example", "access-control-request-method: GET")
FORGED: Final = (
    PREFLIGHT,
    ("origin: ", "access-control-request-method: "),
    ("origin: null", "access-control-request-method: GET", "access-control-request-headers: x-user-id"),
    (*PREFLIGHT, "cookie: a=b"),
    (*PREFLIGHT, "authorization: Bearer x"),
    (*PREFLIGHT, "sec-fetch-mode: cors", "sec-fetch-site: cross-site", "sec-fetch-dest: empty"),
    (*PREFLIGHT, *PREFLIGHT),
)

METHODS: Final = words("HEAD POST PUT DELETE OPTIONS TRACE CONNECT PROPFIND get FOO")
HOSTS: Final = ("localhost/about?", "localhost/about#", "a@b", "[", "\xff", "")
