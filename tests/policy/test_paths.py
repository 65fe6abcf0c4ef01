"""What the guard reads in a path: nothing protected is missed, nothing ordinary is closed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kavach_core.errors import ConfigurationError
from kavach_core.primitives.path_patterns import PathPatterns, fold, split
from kavach_core.primitives.path_readings import Roots, readings
from kavach_core.primitives.paths import PathRules, is_safe_next, safe_next, under_root

PROTECTED = PathRules(protect=PathPatterns.parse(["/dashboard/:path*", "/Users/{id}/keys"]))
DEFAULT_DENY = PathRules(
    public=PathPatterns.parse(["/", "/about", "/blog/:slug?", "/static/{path:path}", "/users/me", "/über-uns"]),
    exempt=PathPatterns.parse(["/login", "/api/kavach/:path*"]),
)


def protects(rules: PathRules, target: str, *, root_path: str = "") -> bool:
    """Decide as for a server that decodes the target once and passes the rest on."""
    return rules.protects(unquote(target), target.encode(), root_path)


class TestPatterns:
    @pytest.mark.parametrize(
        ("pattern", "matching", "other"),
        [
            ("/", ["/"], ["/a"]),
            ("/a/b", ["/a/b", "/a/b/", "/A/B"], ["/a", "/a/b/c", "/a/bc"]),
            ("/a/", ["/a", "/a/"], ["/a/b"]),
            ("/a/:id", ["/a/1"], ["/a", "/a//", "/a/1/2"]),
            ("/a/{id}/b", ["/a/1/b"], ["/a/b", "/a/1/c"]),
            ("/a/:p*", ["/a", "/a/1", "/a/1/2/3"], ["/ab", "/b/a"]),
            ("/a/{p:path}", ["/a", "/a/1/2/3"], ["/b"]),
            ("/a/:p+", ["/a/1", "/a/1/2"], ["/a"]),
            ("/a/:p?/b", ["/a/b", "/a/1/b"], ["/a/1/2/b", "/a"]),
            ("/:x?/:y?/end", ["/end", "/1/end", "/1/2/end"], ["/1/2/3/end"]),
            ("/a/:p*/b/:id", ["/a/b/1", "/a/x/y/b/1"], ["/a/b", "/a/x/y/c/1"]),
            ("/a/:p+/b", ["/a/b/b"], ["/a/b"]),
            ("/straße", ["/STRASSE"], ["/stras"]),
            (
                "/reports/7",
                [
                    "/reports/07",
                    "/reports/+7",
                    "/reports/ 7",
                    "/reports/7.0",
                    "/reports/0_7",
                    "/reports/\u0667",
                    "/reports/\uff17",
                ],
                ["/reports/70", "/reports/-7", "/reports/7.5", "/reports/7a"],
            ),
            ("/reports/-0", ["/reports/0", "/reports/00", f"/reports/{'0' * 5000}"], ["/reports/1"]),
            (
                "/users/0190ae4c-1f2b-7c3d-8e4f-5a6b7c8d9e0f",
                ["/users/0190AE4C1F2B7C3D8E4F5A6B7C8D9E0F", "/users/{urn:uuid:0190ae4c-1f2b-7c3d-8e4f-5a6b7c8d9e0f}"],
                ["/users/0190ae4c-1f2b-7c3d-8e4f-5a6b7c8d9e00"],
            ),
        ],
    )
    def test_syntax(self, pattern: str, matching: list[str], other: list[str]) -> None:
        patterns = PathPatterns.parse([pattern])
        for path in matching:
            assert patterns.matches(fold(split(path))), path
        for path in other:
            assert not patterns.matches(fold(split(path))), path

    @pytest.mark.parametrize(
        "pattern",
        [
            "", "dashboard", "*", "/*", "/a/*", "/a**", "/a//b", "//a", "/a/./b", "/../a", "/:", "/:1", "/:a-b",
            "/:a(x|y)", "/:a*/b/:c*", "/:a+/{b:path}", "/{}", "/{id:int}", "/{id:}", "/{p:path}x", "/x{id}", "/v:id",
            "/(a|b)", "/a.*", "/[a]", "/^a$", "/a?", "/a+", "/a;b", "/a%20b", "/a b", "/a\\b", "/a#b", "/a\n", "/a\0",
            "/:a?/:b?/:c?/:d?/:e?",
        ],
    )  # fmt: skip
    def test_anything_else_is_refused_when_written(self, pattern: str) -> None:
        with pytest.raises(ConfigurationError):
            PathPatterns.parse([pattern])

    def test_one_string_is_not_a_list_of_its_characters(self) -> None:
        with pytest.raises(ConfigurationError):
            PathPatterns.parse("/a")

    def test_without_patterns_nothing_matches(self) -> None:
        assert not PathPatterns.parse([]).matches(())

    def test_a_guard_says_what_is_protected_or_what_is_public(self) -> None:
        patterns = PathPatterns.parse(["/a"])
        with pytest.raises(ConfigurationError):
            PathRules()
        with pytest.raises(ConfigurationError):
            PathRules(protect=patterns, public=patterns)


class TestEveryReading:
    """A row for each class of difference between servers, routers and file handlers."""

    @pytest.mark.parametrize(
        "target",
        [
            pytest.param(target, id=f"{kind}: {target[:40]!r}")
            for kind, targets in {
                "plain": ["/dashboard", "/dashboard/", "/dashboard/a/b", "/Users/7/keys"],
                "duplicate slashes": ["//dashboard", "/dashboard//a", "///dashboard///", "/Users//7/keys"],
                "encoded octets": [
                    "/dash%62oard", "/%2564ashboard", "/%25%32%35%36%34ashboard", "/dashboard%2Fa", "%2Fdashboard",
                    "/dashboard%252Fa",
                ],
                "control characters": [
                    "/dashboard%0A", "/dash\nboard", "/dashboard%00", "/%0Ddashboard", "/dash%C2%85board",
                ],
                "absolute form": [
                    "http://host/dashboard", "https://u:p@host:8/dashboard", "/http://host/dashboard",
                    "//host/dashboard", "http:%2F%2Fhost/dashboard",
                ],
                "no leading slash": ["dashboard", "dashboard/a", "Users/7/keys"],
                "URLs in part": [
                    "x:/dashboard", "http:/dashboard", "http:dashboard", "%20/dashboard", "%09%20//host/dashboard",
                    "http://host/Users/;x/keys;y",
                ],
                "names on Windows": ["/dashboard.", "/dashboard%20", "/dashboard. ./a", "/Users/7/keys.. "],
                "dot segments": [
                    "/./dashboard", "/x/../dashboard", "/dashboard/../x", "/../dashboard", "/%2e%2e/dashboard",
                    "/x%2F..%2Fdashboard", "/dashboard/.", "/Users/x//../7/keys", "/a//../../dashboard",
                    "/Users/.//7/keys", "/Users//../7/keys", "/x/%252e%252e/dashboard",
                ],
                "fragments and queries": ["/dashboard#x", "/dashboard%23x", "/dashboard%3Fx", "/dashboard%253Fx"],
                "parameters": ["/dashboard;v=1", "/dashboard;a;b/c", "/x/..;/dashboard", "/Users;x/7;y/keys;z"],
                "backslashes": ["/\\dashboard", "/dashboard\\a", "/x\\..\\dashboard", "/Users%5C7%5Ckeys"],
                "case": ["/DASHBOARD", "/dAsHboard/A", "/Users/7/\N{KELVIN SIGN}eys", "/\uff44ashboard"],
                "too long": ["/" + "a" * 8192, "/a" * 4097],
                "too many": ["/%" + "25" * 100 + "41", "/%" + "25" * 20 + "41" + "a" * 4000],
                "several at once": ["/x;y/..%5C%2e%2e//DASH%62oard;z%23", "//host%2Fx/%252e%252e/dashboard%0A?"],
            }.items()
            for target in targets
        ],
    )  # fmt: skip
    def test_one_protected_reading_protects(self, target: str) -> None:
        assert protects(PROTECTED, target)
        assert PROTECTED.protects(unquote(target), None, ""), "a server that passes no raw path"

    @pytest.mark.parametrize("root_path", ["/gw", "/gw/"])
    @pytest.mark.parametrize(
        "target",
        [
            "/dashboard", "/gw/dashboard", "/gwdashboard", "/GW/dashboard", "/gw//dashboard", "/x/gw/dashboard",
            "/%67w/dashboard", "http://host/gw/dashboard", "/./gw/dashboard", "//gw/dashboard",
            "/gw/gw/dashboard/../dashboard", "/y/../gw;x/dashboard",
        ],
    )  # fmt: skip
    def test_the_root_path_may_be_in_the_path_or_not(self, target: str, root_path: str) -> None:
        assert protects(PROTECTED, target, root_path=root_path)

    @pytest.mark.parametrize("root_path", ["/gw", "/gw/"])
    def test_a_router_that_splits_at_the_root_path_may_do_so_anywhere(self, root_path: str) -> None:
        for target in ("/x/gw/dashboard", "/x/gw//dashboard"):
            assert protects(PROTECTED, target, root_path=root_path), target
        assert protects(PROTECTED, "/gwx/gw/dashboard", root_path="/gw/"), "the first place that is the root path"
        in_front = replace(PROTECTED, splits_at_root=False)
        assert not protects(in_front, "/x/gw/dashboard", root_path=root_path)
        for target in ("/Users{}/Users/7/keys", "/Users/x/y{}/Users/7/keys", "/Users{}/Users7/keys"):
            # Where a router like that is mounted below one that looks in front.
            assert protects(in_front, target.format(root_path), root_path=root_path), target

    def test_a_prefix_that_becomes_known_later_counts_from_then_on(self) -> None:
        told: list[str] = []
        rules = PathRules(protect=PROTECTED.protect, own_prefixes=told)
        assert not protects(rules, "/v1/dashboard")
        told.append("/v1")
        assert protects(rules, "/v1/dashboard")

    def test_a_prefix_the_scope_does_not_tell_counts_as_a_root_path(self) -> None:
        assert not protects(PROTECTED, "/v1/dashboard")
        prefixed = PathRules(protect=PROTECTED.protect, prefixes=("/v1",))
        assert protects(prefixed, "/v1/dashboard")
        assert protects(prefixed, "/gw/v1/dashboard", root_path="/gw")
        assert not protects(prefixed, "/v1/about")

    def test_what_one_router_alone_makes_of_a_path_is_a_reading_too(self) -> None:
        loose = PathRules(
            protect=PROTECTED.protect,
            also_reads=lambda path, root_path: ["/dashboard/a"] if path == "/dashboarda" else [],
        )
        for target in ("/dashboarda", "/dashboard%61", "/gw/dashboarda"):
            assert protects(loose, target, root_path="/gw"), target
            assert not protects(PROTECTED, target, root_path="/gw"), target
        assert protects(loose, "/dashboarda")
        assert not protects(loose, "/dashboardb")

    def test_a_raw_path_that_says_more_than_the_path_is_read_too(self) -> None:
        assert protects(PROTECTED, "/Users/a%2Fb/keys"), "for a router that splits first and decodes after"
        assert PROTECTED.protects("/about", b"/dashboard", "")
        assert PROTECTED.protects("/about", b"/dash%62oard?x", "")
        assert not PROTECTED.protects("/about", b"/about?next=/dashboard", "")

    def test_a_decision_remembered_for_a_path_is_not_used_for_another_raw_path(self) -> None:
        rules = PathRules(protect=PathPatterns.parse(["/dashboard"]))
        assert not rules.protects("/about", b"/about", "")
        assert not rules.protects("/about", b"/about", "")
        assert rules.protects("/about", b"/dashboard", "")

    def test_what_is_remembered_is_bounded(self) -> None:
        rules = PathRules(protect=PathPatterns.parse(["/dashboard"]))
        for number in range(10_000):
            rules.protects(f"/{number}", None, "")
        assert len(rules._known) <= 4096

    @pytest.mark.parametrize(
        "target",
        [
            "/", "/about", "/dashboards", "/my-dashboard", "/x/dashboard", "/Users/7", "/Users/7/8/keys",
            "/.well-known/x", "/a:/dashboard", "/%20/dashboard",
            "/search/what%3F", "/wiki/C%23", "/wiki/Über", "/a;b/c%5Cd", "/files/100%25.txt", "/go/http://example.com/x",
        ],
    )  # fmt: skip
    def test_other_paths_stay_open(self, target: str) -> None:
        assert not protects(PROTECTED, target)


class TestDefaultDeny:
    @pytest.mark.parametrize(
        "target",
        [
            "/", "/about", "/about/", "/%61bout", "/blog", "/blog/2026", "/blog/hello%20world", "/blog/what%3F",
            "/blog/C%23", "/blog/%23python", "/blog/%3F", "/blog/%3Bx",
            "/blog/" + "aZ-_." * 1000, "/static/app.min.js", "/static/a//b.css", "/static/.well-known/x",
            "/static/%C3%BC.png",
            "/static/x;v=1.css", "/static/http://x/y", "/users/me", "/%C3%BCber-uns", "/login", "/api/kavach",
            "/static/https%3A%2F%2Fexample.com%2F" + "a" * 2000 + "%3Fw%3D1%26h%3D2",
            "/api/kavach/agents/agt_1/delegate", "/api/kavach/agents/a%2Fb", "/api/kavach/agents/x%00",
        ],
    )  # fmt: skip
    def test_ordinary_public_urls_are_open(self, target: str) -> None:
        assert not protects(DEFAULT_DENY, target)
        assert not protects(DEFAULT_DENY, "/gw" + target, root_path="/gw"), "with the root path in the path"
        assert not protects(DEFAULT_DENY, target, root_path="/gw"), "with the root path cut by a proxy"

    @pytest.mark.parametrize(
        "target",
        [
            "/dashboard", "/about/x", "/blog/a/b", "/blog/a%2Fb", "/about%2F..%2Fdashboard", "/static/../dashboard",
            "/static/%2e%2e/dashboard", "/static/..%5Cdashboard", "/static/..;/dashboard", "/static/x//../../../etc",
            "/about;x", "/about%00", "/about%23", "/about%3F", "//about", "//", "/static/../static/../x", "*",
            "http://about", "//host/static", "/static/" + "a" * 8192, "/blog/;a/../dashboard", "/blog/%23/../../x",
        ],
    )  # fmt: skip
    def test_one_reading_that_is_not_public_closes(self, target: str) -> None:
        assert protects(DEFAULT_DENY, target)

    def test_other_ways_to_write_a_number_are_not_let_through(self) -> None:
        rules = PathRules(public=PathPatterns.parse(["/reports/7"]))
        assert not protects(rules, "/reports/7")
        assert all(protects(rules, f"/reports/{written}") for written in ("07", "+7", "7.0", "%207", "0_7"))

    def test_case_is_not_folded_for_what_is_let_through(self) -> None:
        """`/users/ME` may be routed to `/users/{id}`, and so may `/About` to `/{page}`."""
        assert protects(DEFAULT_DENY, "/users/ME")
        assert protects(DEFAULT_DENY, "/About")
        assert protects(DEFAULT_DENY, "/Login")

    @pytest.mark.parametrize("target", ["/blog/gw-notes", "/blog/gw", "/static/gw/x", "/static/x/gw"])
    def test_what_looks_like_the_root_path_further_on_is_the_paths_own(self, target: str) -> None:
        """For a router that looks for it in front alone. One that splits there makes another page of it."""
        assert protects(DEFAULT_DENY, "/blog/gw-notes", root_path="/gw")
        in_front = replace(DEFAULT_DENY, splits_at_root=False)
        assert not protects(in_front, target, root_path="/gw"), "with the root path cut by a proxy"
        assert not protects(in_front, "/gw" + target, root_path="/gw"), "with the root path in the path"
        assert not protects(in_front, "/gw/" + target, root_path="/gw/"), "with a root path that ends in a slash"
        assert not protects(replace(in_front, prefixes=("/gw",)), target)

    def test_a_root_path_does_not_open_a_route_of_the_same_name(self) -> None:
        assert protects(DEFAULT_DENY, "/gw/gw/about", root_path="/gw")
        assert protects(DEFAULT_DENY, "/gw/about")

    @pytest.mark.parametrize("rules", [
        PathRules(public=PathPatterns.parse(["/"]), login=PathPatterns.parse(["/gw/login"])),
        PathRules(protect=PathPatterns.parse(["/:all*"]), login=PathPatterns.parse(["/gw/login"])),
    ])  # fmt: skip
    def test_the_login_page_is_open_with_the_root_path_and_without(self, rules: PathRules) -> None:
        for target in ("/login", "/gw/login"):
            assert not protects(rules, target, root_path="/gw"), target
            assert not protects(rules, target, root_path="/gw/"), target
        for target in ("/gw/gw/login", "/x/login", "/gw/login/x"):
            assert protects(rules, target, root_path="/gw"), target
        assert protects(rules, "/login"), "no root path makes that page of this"


class TestExempt:
    rules = PathRules(
        protect=PathPatterns.parse(["/:all*"]), exempt=PathPatterns.parse(["/login", "/api/kavach/:path*"])
    )

    @pytest.mark.parametrize(
        "target", ["/login", "/login/", "/api/kavach", "/api/kavach/agents", "/api/kavach//agents"]
    )
    def test_exempt_paths_are_open_under_a_pattern_that_covers_all(self, target: str) -> None:
        assert not protects(self.rules, target)

    @pytest.mark.parametrize("target", ["/login/x", "/login;x", "/api/kavach/../x", "/api/kavach/%252e%252e/x", "/x"])
    def test_only_if_every_reading_is_exempt(self, target: str) -> None:
        assert protects(self.rules, target)


def encoded(path: str, at: int) -> str:
    at %= len(path)
    return f"{path[:at]}%{ord(path[at]):02X}{path[at + 1 :]}"


def interrupted(path: str, at: int) -> str:
    at %= len(path)
    return f"{path[:at]}\n{path[at:]}"


# What a client can do to a path so that some server or router still makes the same of it.
MUTATIONS: dict[str, Callable[[str, int], str]] = {
    "double a slash": lambda path, at: path.replace("/", "/" * (at % 3 + 2), at % 2 + 1),
    "encode a character": encoded,
    "encode it twice": lambda path, at: encoded(path, at).replace("%", "%25"),
    "insert a dot": lambda path, at: path.replace("/", "/./", 1),
    "go down and up": lambda path, at: f"/x{at}/.." + path if path.startswith("/") else path,
    "change case": lambda path, at: path.swapcase(),
    "add parameters": lambda path, at: path + f";p={at}",
    "add a fragment": lambda path, at: path + "#x",
    "add a control character": interrupted,
    "use backslashes": lambda path, at: path.replace("/", "\\"),
}


def mutated(path: str, steps: list[tuple[str, int]]) -> str:
    for name, at in steps:
        path = MUTATIONS[name](path, at)
    return path


STEPS = st.lists(st.tuples(st.sampled_from(sorted(MUTATIONS)), st.integers(0, 30)), min_size=1, max_size=3)
PATHS = st.sampled_from(["/dashboard", "/dashboard/a", "/Users/7/keys"])


class TestMutations:
    @given(path=PATHS, steps=STEPS, host=st.sampled_from(["", "http://host", "//host"]))
    def test_a_mutated_protected_path_stays_protected(self, path: str, steps: list[tuple[str, int]], host: str) -> None:
        assert protects(PROTECTED, host + mutated(path, steps))

    @given(steps=STEPS)
    def test_no_mutation_makes_a_protected_path_public(self, steps: list[tuple[str, int]]) -> None:
        assert protects(DEFAULT_DENY, mutated("/dashboard", steps))

    @pytest.mark.parametrize("name", sorted(MUTATIONS.keys() - {"encode a character"}))
    def test_comparing_what_the_server_decoded_misses_it(self, name: str) -> None:
        """The negative control: equality is bypassed by each mutation but the one that every server undoes."""
        assert unquote(mutated("/dashboard", [(name, 3)])) != "/dashboard"

    @given(
        segments=st.lists(
            st.text("abcXYZ019-_.~@ü ", min_size=1, max_size=8).filter(lambda s: s.strip(".")), max_size=6
        )
    )
    def test_ordinary_paths_below_a_public_folder_are_open(self, segments: list[str]) -> None:
        assert not protects(DEFAULT_DENY, "/static/" + "/".join(map(quote, segments)))

    @given(path=st.text(max_size=40), root_path=st.sampled_from(["", "/gw"]))
    def test_any_text_is_decided(self, path: str, root_path: str) -> None:
        for rules in (PROTECTED, DEFAULT_DENY):
            rules.protects(path, None, root_path)
            rules.protects(path, path.encode("utf-8", "replace"), root_path)


class TestCost:
    @pytest.mark.parametrize(
        "target",
        [
            "/a" * 400, "/a" * 400 + "/b", "/.." * 300, "/" * 1000, "%25" * 300, "/%2e%2e%2f" * 100,
            "/a;b\\c#d?e%0A%25" * 60, "/a" * 4000, "/.." * 2700,
            "/a;b" * 2000, "/gw" * 2700, "//x" * 2700, "%2525" * 1600, "/%2e%2e%2f;" * 700,
            "//x" * 300, "/gw" * 340, "http://" * 140,
        ],
    )  # fmt: skip
    def test_no_path_is_expensive(self, target: str) -> None:
        rules = PathRules(
            protect=PathPatterns.parse(["/a/:p*/c", "/:x?/:y?/:z?/:p*/c", "/:p+/b/c", "/a/{p:path}/d/:e"])
        )
        started = time.process_time()
        protects(rules, target, root_path="/gw")
        assert time.process_time() - started < 0.1


class TestNext:
    @pytest.mark.parametrize(
        ("path", "query", "expected"),
        [
            ("/dashboard", "", "/dashboard"),
            ("/dashboard", "a=1&b=%20x", "/dashboard?a=1&b=%20x"),
            ("/über uns", "q=ü", "/%C3%BCber%20uns?q=%C3%BC"),
            ("/wiki/what?#1", "", "/wiki/what%3F%231"),
            ("/100%", "", "/100%25"),
            ("/lone\udcff", "", "/lone%3F"),
        ],
    )
    def test_leads_back(self, path: str, query: str, expected: str) -> None:
        assert safe_next(path, query) == expected

    @pytest.mark.parametrize(
        ("path", "raw_path", "root_path", "expected"),
        [
            ("/a/b", b"/a%2Fb?x", "", "/a%2Fb"),
            ("/a b", b"/a%20b", "", "/a%20b"),
            ("/\xfc", b"/%C3%BC", "", "/%C3%BC"),
            ("/a", b'/a"<>', "", "/a"),
            ('/a"<>', b'/a"<>', "", "/a%22%3C%3E"),
            ("/new", b"/old", "", "/new"),
            ("/sub/a/b", b"/sub/a%2Fb", "/sub", "/sub/a%2Fb"),
            ("/a/b", b"/a%2Fb", "/sub/", "/sub/a%2Fb"),
            ("/subway", b"/subway", "/sub", "/sub/subway"),
            ("/sub", b"/sub", "/sub", "/sub"),
            ("/x", None, "/\xfc b", "/%C3%BC%20b/x"),
            ("/x", b"/x", "//evil.example", None),
            ("//evil.example/x", b"//evil.example/x", "//evil.example", None),
            ("/a/b", b"/%2Fa/b", "", "/a/b"),
            ("//a", b"/%2Fa", "", None),
        ],
    )
    def test_leads_back_as_it_was_sent_and_below_the_root_path(
        self, path: str, raw_path: bytes | None, root_path: str, expected: str | None
    ) -> None:
        assert safe_next(path, "", raw_path=raw_path, root_path=root_path) == expected

    @pytest.mark.parametrize(
        ("path", "root_path", "expected"),
        [
            ("/login", "", "/login"),
            ("/login?as=x", "/sub", "/sub/login?as=x"),
            ("/sub/login", "/sub", "/sub/login"),
            ("/login", "//evil.example", "/login"),
            ("/login", "/%2Fevil", "/login"),
            ("/login", "/\\evil", "/login"),
        ],
    )
    def test_a_page_of_the_app_is_below_its_root_path(self, path: str, root_path: str, expected: str) -> None:
        assert under_root(path, root_path) == expected

    @pytest.mark.parametrize(
        "path",
        [
            "//evil.example", "/\\evil", "\\evil", "http://evil", "evil", "", "/a\r\nb", "/\t/evil", "/%2Fevil",
            "/%252Fevil", "/%5Cevil", "/%255Cevil", "/%0A", "/a\x7f", "/a\x85", "/" + "a" * 2048,
        ],
    )  # fmt: skip
    def test_or_nowhere(self, path: str) -> None:
        assert safe_next(path, "") is None

    def test_the_query_is_checked_and_counted_too(self) -> None:
        assert safe_next("/a", "x=%0d%0aSet-Cookie") is None
        assert safe_next("/a", "x" * 2048) is None

    @pytest.mark.parametrize(
        "target", ["//evil", "/%2F%2Fevil/..", "/%25252Fevil", "https://evil", "/\\evil", "/%09/evil"]
    )
    def test_a_value_that_comes_back_is_checked_again(self, target: str) -> None:
        assert not is_safe_next(target)


def test_a_plain_path_has_one_reading() -> None:
    assert readings("/a/b.c/", b"/a/b.c/", Roots.of("")) == (("a", "b.c"),)
    assert readings("/", None, Roots.of("")) == ((),)
