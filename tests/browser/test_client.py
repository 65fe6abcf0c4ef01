"""`client.js` in a page of the app's own, under a strict policy with Trusted Types."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Request

from kavach_core.pages.assets import assets
from tests.browser.site import Person

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

_CLIENT = "const { kavach, createKavachClient } = await import('/api/kavach/client.js');"
#: Comes back when a request of the browser's own is pending.
_IS_ASKING = "new Promise((go) => { const look = () => (window.running === 1 ? go(1) : setTimeout(look, 5)); look(); })"


async def test_it_signs_up_and_out_and_in_and_tells_its_listeners(person: Person) -> None:
    told = await _run(
        person,
        """
        const seen = [];
        kavach.subscribe(() => seen.push(kavach.getSnapshot().status));
        const [one, other] = await Promise.all([kavach.getSession(), kavach.getSession()]);
        const session = await kavach.register({ email: "host@example.org", displayName: "Host" });
        const again = await kavach.getSession();
        await kavach.signOut();
        const back = await kavach.signIn();
        const { user } = kavach.getSnapshot();
        return { seen, one, other, same: again === session, token: session.token, email: user.email,
                 fresh: back.id !== session.id };
        """,
    )
    assert told["seen"] == ["anonymous", "authenticated", "anonymous", "authenticated"]
    assert (told["one"], told["other"], told["same"], told["token"]) == (None, None, True, "")
    assert told["email"] == "host@example.org" and told["fresh"]


async def test_the_session_is_asked_for_once_and_again_when_wanted(person: Person) -> None:
    asked = _count(person, "/session")
    many = "await Promise.all([1, 2, 3].map(() => kavach.getSession())); await kavach.getSession();"
    await _run(person, many)
    assert len(asked) == 1
    await _run(person, "await kavach.getSession({ refresh: true });")
    assert len(asked) == 2


async def test_under_two_addresses_it_is_one_module_with_one_session(person: Person) -> None:
    """The pages name its version, an app's own page may not, and react.js never does."""
    same = await _run(
        person,
        f"""
        const versioned = await import('/api/kavach/{assets()["client.js"].url}');
        const hooks = await import('/api/kavach/react.js');
        const {{ KavachError }} = await import('/api/kavach/client.js');
        const failed = await kavach.getAgent('agt_x').catch((error) => error);
        return [versioned.kavach === kavach, versioned.KavachError === KavachError, failed instanceof KavachError,
                typeof hooks.createKavachHooks, createKavachClient({{ base: "/api/kavach" }}) === kavach];
        """,
    )
    assert same == [True, True, True, "function", False]


async def test_it_works_beside_shims_that_throw_and_without_the_newer_functions(person: Person) -> None:
    worked = await _run(
        person,
        """
        PublicKeyCredential.prototype.toJSON = () => { throw new TypeError("Illegal invocation"); };
        AuthenticatorAttestationResponse.prototype.getTransports = () => { throw new TypeError("Illegal invocation"); };
        PublicKeyCredential.prototype.getClientExtensionResults = () => { throw new TypeError("Illegal invocation"); };
        delete PublicKeyCredential.parseCreationOptionsFromJSON;
        PublicKeyCredential.parseRequestOptionsFromJSON = () => { throw new TypeError("Illegal invocation"); };
        delete PublicKeyCredential.signalAllAcceptedCredentials;
        await kavach.register();
        return (await kavach.signIn()).userId.startsWith("usr_");
        """,
    )
    assert worked is True


async def test_errors_carry_codes(person: Person) -> None:
    codes = await _run(
        person,
        """
        const code = (act) => act.then(() => "none", (error) => error.code);
        const asking = (options) => createKavachClient({
          base: "/api/kavach",
          fetch: async (url, init) => url.endsWith("/begin") ? Response.json(options) : fetch(url, init),
        });
        const options = { challenge: "AAAA", rpId: "other.example" };
        const stopped = AbortSignal.abort();
        const told = {
          cancelled: await code(kavach.signIn()),
          aborted: await code(kavach.signIn({ signal: stopped })),
          wrong_origin: await code(asking(options).signIn()),
          network: await code(createKavachClient({ base: "http://localhost:1" }).signOut()),
          server: await code(kavach.recovery.useCode("nonsense")),
          SESSION: await code(kavach.listPasskeys()),
        };
        await kavach.register();
        told.already_registered = await code(kavach.addPasskey());
        delete window.PublicKeyCredential;
        told.unsupported = await code(kavach.signIn());
        return told;
        """,
    )
    for own in ("cancelled", "aborted", "wrong_origin", "network", "already_registered", "unsupported"):
        assert codes[own] == own
    assert codes["server"].isupper() and codes["SESSION"] == "UNAUTHENTICATED"
    person.faults = [fault for fault in person.faults if "connect-src" not in fault and "localhost:1" not in fault]


async def test_a_modal_request_takes_the_place_of_autofill_which_then_comes_back(person: Person) -> None:
    await person.touches(False)
    begun = _count(person, "/sign-in/begin")
    await _run(
        person,
        """
        window.running = 0; window.most = 0;
        for (const verb of ["get", "create"]) {
          const real = CredentialsContainer.prototype[verb];
          CredentialsContainer.prototype[verb] = async function (asked) {
            window.most = Math.max(window.most, ++window.running);
            try { return await real.call(this, asked); } finally { window.running -= 1; }
          };
        }
        window.older = kavach.autofill().then(() => "signed in", (error) => error.code);
        window.filling = kavach.autofill().then(() => "signed in", (error) => error.code);
        return 1;
        """,
    )
    assert await person.page.evaluate("window.older") == "aborted"
    await person.page.evaluate(_IS_ASKING)
    before = len(begun)
    controller = "window.stop = new AbortController(); setTimeout(() => window.stop.abort(), 50);"
    code = await _run(person, controller + "return kavach.signIn({ signal: stop.signal }).catch((e) => e.code);")
    assert code in ("aborted", "cancelled")
    await person.page.evaluate(_IS_ASKING)
    assert len(begun) == before + 2, "the button's, and autofill once more"
    await person.touches(True)
    await _run(person, "await kavach.register(); return 1;")
    assert await person.page.evaluate("window.filling") == "aborted"
    assert await person.page.evaluate("[window.most, window.running]") == [1, 0]


async def test_autofill_begins_anew_before_its_challenge_is_too_old(person: Person) -> None:
    await person.touches(False)
    begun = _count(person, "/sign-in/begin")
    await _run(
        person,
        """
        window.stop = new AbortController();
        window.filling = kavach.autofill({ renewMs: 40, signal: stop.signal }).catch((error) => error.code);
        return 1;
        """,
    )
    while len(begun) < 3:
        await person.page.wait_for_event("request")
    assert await person.page.evaluate("(window.stop.abort(), window.filling)") == "aborted"


async def test_a_passkey_that_the_server_forgot_is_forgotten_by_its_device(person: Person) -> None:
    await _run(person, "await kavach.register(); return 1;")
    await person.takes_another_device(transport="usb")
    left = await _run(
        person,
        """
        const [first] = await kavach.listPasskeys();
        const second = await kavach.addPasskey();
        await kavach.deletePasskey(second.id);
        return kavach.signIn().catch((error) => error.code);
        """,
    )
    assert left == "PASSKEY_UNKNOWN"
    key = {"authenticatorId": person.authenticator}
    assert (await person.cdp.send("WebAuthn.getCredentials", key))["credentials"] == []


async def test_it_answers_what_agents_ask_and_bounds_what_they_spend(person: Person) -> None:
    user = await _run(person, "return (await kavach.register()).userId;")
    consent = {"resource": "payments", "actions": ["send"], "constraints": {"requireApproval": True}}
    agent = await person.site.kavach.agents.create(owner_id=user, name="asks", permissions=[consent])
    for amount in (1, 2):
        await person.site.kavach.authorize(agent.token, action="send", resource="payments", arguments={"n": amount})
    told = await _run(
        person,
        f"""
        const agentId = "{agent.id}";
        const [second, first] = await kavach.listApprovals({{ status: "pending", agentId }});
        const answers = [await kavach.approve(first.id), await kavach.deny(second.id)].map(({{ status }}) => status);
        const again = await kavach.approve(second.id).catch((error) => [error.code, error.details.status]);
        const waited = await kavach.getApproval(first.id, {{ wait: 1 }});
        const budget = await kavach.createBudget({{ agentId, limit: 5, per: "day" }});
        const changed = await kavach.updateBudget(budget.id, {{ limit: 7 }});
        const listed = (await kavach.listBudgets({{ agentId }})).map(({{ id }}) => id === budget.id);
        const {{ calls, cost }} = await kavach.remaining(agentId);
        await kavach.deleteBudget(budget.id);
        const after = (await kavach.remaining(agentId)).calls;
        return {{ answers, again, waited: waited.argumentsJson, limit: changed.limit, listed, calls, cost, after }};
        """,
    )
    assert told == {
        "answers": ["approved", "denied"],
        "again": ["FINAL_STATE", "denied"],
        "waited": '{"n":1}',
        "limit": 7,
        "listed": [True],
        "calls": 7,
        "cost": None,
        "after": None,
    }


async def test_the_hooks_follow_the_session(person: Person) -> None:
    """With as much of React as they use; they are handed the real one by whoever has it."""
    told = await _run(
        person,
        """
        const { createKavachHooks } = await import("/api/kavach/react.js");
        const slots = []; let at = 0; let rendered; let queued = false; const effects = [];
        const same = (one, other) => one && one.length === other.length && one.every((x, i) => Object.is(x, other[i]));
        const later = () => { if (!queued) { queued = true; queueMicrotask(() => { queued = false; render(); }); } };
        const React = {
          useState(first) {
            const here = at++;
            slots[here] ??= { value: first };
            const set = (next) => {
              slots[here].value = typeof next === "function" ? next(slots[here].value) : next;
              later();
            };
            return [slots[here].value, set];
          },
          useCallback(act, deps) {
            const here = at++;
            if (!same(slots[here]?.deps, deps)) slots[here] = { act, deps };
            return slots[here].act;
          },
          useEffect(act, deps) {
            const here = at++;
            if (same(slots[here]?.deps, deps)) return;
            const undo = slots[here]?.undo;
            slots[here] = { deps };
            effects.push(() => { undo?.(); slots[here].undo = act(); });
          },
          useSyncExternalStore(subscribe, read) {
            const here = at++;
            slots[here] ??= { undo: subscribe(later) };
            return read();
          },
        };
        const { useSession, useAgents, useAgentIdentity, useApprovals } = createKavachHooks(React);
        let agentId = "agt_none";
        function render() {
          at = 0;
          rendered = { session: useSession(), agents: useAgents(), one: useAgentIdentity(agentId) };
          rendered.asked = useApprovals();
          for (const effect of effects.splice(0)) effect();
        }
        const until = async (holds) => { while (!holds()) await new Promise((go) => setTimeout(go, 5)); };
        render();
        const first = rendered.session.status;
        await until(() => rendered.session.status === "anonymous");
        await kavach.register();
        await until(() => rendered.session.status === "authenticated" && !rendered.agents.isLoading);
        const made = await rendered.agents.create({ name: "hooked", permissions: ["read:repos"] });
        agentId = made.id;
        await until(() => rendered.agents.agents.length === 1 && rendered.one.agent?.name === "hooked");
        await until(() => !rendered.asked.isLoading);
        const unknown = await rendered.asked.deny("apr_" + "0".repeat(32)).catch((error) => error.code);
        const asked = rendered.asked.approvals;
        await rendered.session.signOut();
        await until(() => rendered.session.status === "anonymous" && rendered.agents.agents.length === 0);
        return { first, unknown, asked, one: rendered.one.agent, hasToken: made.token.startsWith("kv_agt_") };
        """,
    )
    assert told == {"first": "loading", "unknown": "NOT_FOUND", "asked": [], "one": None, "hasToken": True}


async def _run(person: Person, script: str) -> Any:
    """Run a script in the app's own page, with the client at hand."""
    if not person.page.url.startswith(person.site.origin):
        await person.page.goto(f"{person.site.origin}/")
    return await person.page.evaluate(f"(async () => {{ {_CLIENT} {script} }})()")


def _count(person: Person, path: str) -> list[str]:
    """The requests to a path of the API, from now on."""
    made: list[str] = []

    def note(request: Request) -> None:
        if request.url.endswith(path):
            made.append(request.url)

    person.page.on("request", note)
    return made
