"""The account page, where a human answers what their agents ask, and bounds what those may spend."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import httpx
import pytest
from playwright.async_api import Locator, expect

from kavach_core import Agent
from tests.browser.site import Person

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

_CONSENT: Final = {"resource": "payments", "actions": ["send"], "constraints": {"requireApproval": True}}
#: What an agent may try with the eyes of a human, and what they must be able to read.
_HOSTILE: Final = {
    "amount": 12345678901234567890,
    "note": "<img src=x onerror=console.error(1)>",
    "spoof": 'bob\u202eevil\u200b\u00a0", \u2066\n"amount": 5',
    "to": "Zoë नमस्ते 🦉",
    "card": {"cvc/token": "s3cret", "said": "[redacted]"},
    "none": [{}, [], None, True, 1.5],
}
_SHOWN: Final = """{
"amount": 12345678901234567890,
"card": {
"cvc/token": hidden: a secret,
"said": "[redacted]"
},
"none": [
{},
[],
null,
true,
1.5
],
"note": "<img src=x onerror=console.error(1)>",
"spoof": "bob\\u202eevil\\u200b\\u00a0\\", \\u2066\\n\\"amount\\": 5",
"to": "Zoë नमस्ते 🦉"
}"""


async def test_a_human_sees_what_is_asked_exactly_and_agrees_once_with_the_keyboard(person: Person) -> None:
    page = person.page
    agent = await _begin(person)
    assert await _ask(person, agent, _HOSTILE) == "APPROVAL_REQUIRED"
    await page.reload()
    await person.sees_sections()
    row = _rows(person)
    await expect(row.get_by_role("heading")).to_have_text("treasurer wants to send on payments")
    assert await row.get_by_role("group").inner_text() == _SHOWN
    assert await row.locator("img").count() == 0
    await expect(row).to_contain_text("Expires in 60 minutes")
    await expect(row).not_to_contain_text("Costs")

    await page.get_by_role("button", name="Approve send on payments for treasurer").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#message")).to_have_text(
        "Approved. The call may go ahead once. (send on payments, treasurer)"
    )
    await expect(page.get_by_role("heading", name="Waiting for you")).to_be_focused()
    await expect(row).to_contain_text("Approved. The call may go ahead once.")
    await expect(row.get_by_role("button")).to_have_count(0)
    await expect(page.locator("#approvals-intro")).to_have_text("Nothing waits for you now.")
    assert await _ask(person, agent, {**_HOSTILE, "amount": 1}) == "APPROVAL_REQUIRED"
    assert await _ask(person, agent, _HOSTILE) == "ALLOWED"
    assert await _ask(person, agent, _HOSTILE) == "APPROVAL_REQUIRED"


async def test_a_human_is_told_what_a_call_may_cost(person: Person) -> None:
    agent = await _begin(person)
    call = {"action": "send", "resource": "payments", "cost": 5000}
    assert (await person.site.kavach.authorize(agent.token, **call)).code == "APPROVAL_REQUIRED"
    await person.page.reload()
    await person.sees_sections()
    await expect(_rows(person)).to_contain_text("The call has no arguments.")
    await expect(_rows(person)).to_contain_text("Costs up to 5000 units")


async def test_a_long_call_is_shown_whole_in_one_run_and_fits_the_page(person: Person) -> None:
    agent = await _begin(person)
    long = {"names": [f"ü{number}" for number in range(3000)], "password": "s3cret"}
    await _ask(person, agent, long)
    await person.page.reload()
    shown = _rows(person).get_by_role("group")
    await expect(shown).to_contain_text('"ü0", "ü1", "ü2"')
    await expect(shown).to_contain_text('"ü2999"], "password": hidden: a secret}')
    await expect(_rows(person)).to_contain_text("scroll to see all of it")
    assert await shown.evaluate("(box) => box.clientHeight < 300 && box.querySelectorAll('*').length < 10")


async def test_new_requests_come_without_a_reload_and_what_was_answered_elsewhere_says_so(person: Person) -> None:
    page, approvals = person.page, person.site.kavach.approvals
    await page.clock.install()
    agent = await _begin(person)
    await expect(page.locator("#approvals")).to_be_hidden()
    for amount in (1, 2, 3):
        await _ask(person, agent, {"amount": amount})
    await page.clock.fast_forward(15_000)
    await expect(_rows(person)).to_have_count(3)
    await expect(page.locator("#message")).to_have_text("3 new requests wait for you.")
    for place, amount in enumerate((1, 2, 3)):
        await expect(_rows(person).nth(place)).to_contain_text(f'"amount": {amount}')
    await expect(page.locator("#to-approvals")).to_have_text("Waiting for you 3")

    third, _, first = await approvals.list(agent_id=agent.id)
    await approvals.deny(first.id, by="elsewhere")
    await _rows(person).nth(0).get_by_role("button", name="Approve").click()
    await expect(page.locator("#message[data-kind=error]")).to_have_text("Your answer came too late. Denied.")
    await expect(_rows(person).nth(1).get_by_role("heading")).to_be_focused()

    await approvals.approve(third.id, by="elsewhere")
    await _ask(person, agent, {"amount": 4})
    await page.clock.fast_forward(15_000)
    await expect(_rows(person).nth(2)).to_contain_text("Approved. The call may go ahead once.")
    await expect(page.locator("#message")).to_have_text("treasurer asks you: send on payments.")
    await expect(_rows(person).nth(3)).to_contain_text('"amount": 4')

    await _rows(person).nth(1).get_by_role("button", name="Deny").click()
    await expect(page.locator("#message")).to_have_text("Denied. (send on payments, treasurer)")
    assert await _ask(person, agent, {"amount": 2}) == "APPROVAL_DENIED"
    await person.site.kavach.agents.revoke(agent.id)
    await _rows(person).nth(3).get_by_role("button", name="Approve").click()
    await expect(page.locator("#message")).to_contain_text("The agent that asked has ended")
    await expect(_rows(person).get_by_role("button")).to_have_count(0)
    # What was told to have ended is not put to the human again.
    await _ask(person, await _give_agent(person), {"amount": 5})
    await page.clock.fast_forward(15_000)
    await expect(_rows(person).nth(4)).to_contain_text('"amount": 5')
    await expect(_rows(person)).to_have_count(5)


async def test_a_budget_set_on_the_page_holds_from_the_next_call_on(person: Person) -> None:
    page = person.page
    agent = await _begin(person, "read:repos")
    await person.site.kavach.budgets.create(agent_id=agent.id, measure="cost", limit=500, per="month")
    await page.reload()
    left, dialog = page.locator("#agent-rows [data-part=left]"), page.locator("#budget-dialog")
    await expect(left).to_have_text("500 units left")

    await page.get_by_role("button", name="Budgets for treasurer").click()
    await expect(dialog.locator(".row-title")).to_have_text(["500 units a month set by the app"])
    await expect(dialog.locator(".row-meta")).to_have_text(
        re.compile(r"^500 left · begins anew .* · then calls are refused$")
    )
    await expect(dialog.locator(".row").get_by_role("button")).to_have_count(0)
    await dialog.get_by_role("button", name="Add budget").click()
    await expect(dialog.locator(".field-error")).to_be_visible()
    await dialog.get_by_label("At most").fill("1")
    await page.keyboard.press("Enter")
    await expect(dialog.get_by_role("status")).to_have_text("The budget is set.")
    assert [(await _call(person, agent)).status_code for _ in range(2)] == [200, 429]
    refused = await _call(person, agent)
    assert refused.json()["error"]["code"] == "BUDGET_EXCEEDED" and int(refused.headers["retry-after"]) > 0

    await dialog.get_by_role("button", name="Change 1 call a day").click()
    await expect(dialog.get_by_label("In")).to_be_disabled()
    await dialog.get_by_label("At most").fill("3")
    await dialog.get_by_role("button", name="Save").click()
    await expect(dialog.get_by_role("status")).to_have_text("The budget is changed.")
    assert (await _call(person, agent)).status_code == 200
    await dialog.get_by_role("button", name="Close").click()
    await expect(left).to_have_text("1 call and 500 units left")
    await expect(page.get_by_role("button", name="Budgets for treasurer")).to_be_focused()

    await page.keyboard.press("Enter")
    await dialog.get_by_role("button", name="Remove 3 calls a day").click()
    await expect(dialog.get_by_role("status")).to_have_text("The budget is removed.")
    await expect(dialog.get_by_role("heading")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(left).to_have_text("500 units left")


async def test_a_budget_that_revokes_says_what_it_ends(person: Person) -> None:
    """What it hangs on, and not the agent whose dialog it is shown in."""
    page, kavach = person.page, person.site.kavach
    above = await _begin(person, "read:repos")
    below = await kavach.agents.delegate(from_=above.id, permissions=["read:repos"], name="below")
    holders: tuple[dict[str, str], ...] = (
        *({"agent_id": below.id}, {"agent_id": above.id}, {"delegation_id": below.delegation_id}),
        *({"owner_id": await person.user_id()}, {}),
    )
    terms: dict[str, Any] = {"limit": 10_000, "per": "forever", "action": "revoke"}
    made = [await kavach.budgets.create(**holder, **terms) for holder in holders]
    try:
        await page.reload()
        await page.get_by_role("button", name="Budgets for below").click()
        rows = page.locator("#budget-dialog .row")
        await expect(rows).to_have_count(len(made))
        ends = {await row.locator(".row-meta").inner_text() for row in await rows.all()}
    finally:
        await kavach.budgets.delete(made[-1].id)  # it would bound everybody else on this site
    assert ends == {
        f"10,000 left · then {end}"
        for end in (
            *("the agent is revoked", "that agent is revoked", "the delegation is revoked"),
            *("the owner is suspended", "everything is suspended"),
        )
    }


async def _begin(person: Person, *permissions: str) -> Agent:
    """Sign somebody up who has an agent that has to ask before it pays."""
    await person.sign_up()
    return await _give_agent(person, *permissions)


async def _give_agent(person: Person, *permissions: str) -> Agent:
    return await person.site.kavach.agents.create(
        owner_id=await person.user_id(), name="treasurer", permissions=[_CONSENT, *permissions]
    )


async def _ask(person: Person, agent: Agent, arguments: Mapping[str, Any]) -> str:
    call = {"action": "send", "resource": "payments", "arguments": arguments}
    return (await person.site.kavach.authorize(agent.token, **call)).code


async def _call(person: Person, agent: Agent) -> httpx.Response:
    """Call a guarded route of the app as the agent does."""
    async with httpx.AsyncClient() as http:
        return await http.get(f"{person.site.origin}/repos", headers={"authorization": f"Bearer {agent.token}"})


def _rows(person: Person) -> Locator:
    return person.page.locator("#approval-rows > .row")
