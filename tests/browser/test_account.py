"""The account page: agents with tokens that are shown once, sessions, and changes that ask who is there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.browser.site import Meet, Person, serve

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

AGENTS = "#agent-rows .row"


async def test_an_agent_is_made_its_token_shown_once_and_copied_replaced_and_revoked(person: Person) -> None:
    page, kavach = person.page, person.site.kavach
    await person.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await person.sign_up()
    await expect(page.locator("#no-agents")).to_be_visible()

    await page.get_by_role("button", name="New agent").click()
    await page.get_by_role("button", name="Create agent").click()
    await expect(page.get_by_role("textbox", name="Name")).to_be_focused()
    await page.get_by_role("textbox", name="Name").fill("<img src=x onerror=alert(1)>")
    await page.get_by_label("read:repos").check()
    await page.get_by_label("read:files:**").check()
    await page.get_by_role("button", name="Create agent").click()
    token = await _secret(page)
    await page.get_by_role("button", name="Copy").click()
    await expect(page.get_by_text("Copied.")).to_be_visible()
    assert await page.evaluate("navigator.clipboard.readText()") == token
    await page.get_by_role("button", name="I have saved it").click()
    await expect(page.locator("dialog[open]")).to_have_count(0)
    await expect(page.locator("pre.secret")).to_have_text("")
    assert token not in await page.content()
    row = page.locator(AGENTS)
    await expect(row).to_contain_text("<img src=x onerror=alert(1)>")
    await expect(row.locator(".chip")).to_have_text(["read:files:** at most 100 calls an hour", "read:repos"])
    assert (await kavach.authorize(token, action="read", resource="repos")).allowed
    assert not (await kavach.authorize(token, action="write", resource="comments")).allowed

    await page.get_by_role("button", name="New token for").click()
    await page.get_by_role("button", name="Make a new token").click()
    renewed = await _secret(page)
    await page.get_by_role("button", name="I have saved it").click()
    assert not (await kavach.agents.verify(token)).valid and (await kavach.agents.verify(renewed)).valid

    await page.get_by_role("button", name="Revoke for").click()
    await page.keyboard.press("Escape")
    assert (await kavach.agents.verify(renewed)).valid
    await page.get_by_role("button", name="Revoke for").click()
    await page.get_by_role("button", name="Revoke agent").click()
    await expect(page.locator(AGENTS)).to_have_count(0)
    assert not (await kavach.agents.verify(renewed)).valid


async def test_a_permission_is_written_by_hand_and_what_may_not_be_given_is_refused_with_words(person: Person) -> None:
    page = person.page
    await person.sign_up()
    await _ask_for_reader(page, "write:everything")
    await expect(page.get_by_role("alert")).to_be_visible()
    await page.get_by_label("Narrower permissions").fill("write:comments")
    await page.get_by_role("button", name="Create agent").click()
    await page.get_by_role("button", name="I have saved it").click()
    await expect(page.locator(f"{AGENTS} .chip")).to_have_text(["write:comments"])


async def test_what_is_written_by_hand_has_the_limits_of_what_it_is_part_of(person: Person) -> None:
    """Or nothing within a permission that has some could be given: its limits cannot be written here."""
    page = person.page
    await person.sign_up()
    await _ask_for_reader(page, "read:files:src\nread:files:docs:*")
    token = await _secret(page)
    await page.get_by_role("button", name="I have saved it").click()
    limited = [f"read:files:{of} at most 100 calls an hour" for of in ("docs:*", "src")]
    await expect(page.locator(f"{AGENTS} .chip")).to_have_text(limited)
    authorize = person.site.kavach.authorize
    assert (await authorize(token, action="read", resource="files:src")).allowed
    assert not (await authorize(token, action="read", resource="files:other")).allowed


async def test_sessions_show_their_devices_and_end_one_by_one_or_all(person: Person) -> None:
    page, kavach = person.page, person.site.kavach
    await person.sign_up()
    user = (await page.evaluate("fetch('session').then((answer) => answer.json())"))["userId"]
    phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1 Version/19.0 Safari/604.1"
    started = [await kavach.sessions.create(user, user_agent=phone) for _ in range(3)]
    await page.reload()
    rows = page.locator("#session-rows .row")
    await expect(rows).to_have_count(4)
    await expect(rows.filter(has_text="This device").get_by_role("button")).to_have_count(0)
    await page.get_by_role("button", name="Sign out Safari on iPhone").first.click()
    await expect(rows).to_have_count(3)
    await page.get_by_role("button", name="Sign out all others").click()
    await expect(rows).to_have_count(1)
    assert not any([(await kavach.sessions.verify(each.token or "")).valid for each in started])


async def test_what_needs_a_fresh_session_asks_for_the_passkey_and_then_goes_on(
    meet_person: Meet, tmp_path: Path
) -> None:
    async with serve(tmp_path) as site:
        person = await meet_person(at=site)
        await person.sign_up()
        site.clock.advance(minutes=11)
        await person.page.get_by_role("button", name="Create codes").click()
        await person.page.get_by_role("button", name="Cancel").click()
        await expect(person.page.locator("pre.secret")).to_be_hidden()
        await person.page.get_by_role("button", name="Create codes").click()
        await person.page.get_by_role("button", name="Use my passkey").click()
        await expect(person.page.locator("pre.secret")).to_be_visible()


@pytest.mark.usefixtures("cheap_passwords")
async def test_passwords_where_the_app_wants_them(meet_person: Meet, tmp_path: Path) -> None:
    async with serve(tmp_path, passwords=True, verify_email=True) as site:
        person = await meet_person(at=site)
        page = person.page
        await person.open("sign-in#sign-up")
        await page.get_by_role("button", name="Use a password instead").click()
        await page.get_by_role("button", name="Create account").click()
        await expect(page.locator(".field-error")).to_have_count(2)
        await page.locator("#sign-up-email").fill("ada@example.org")
        await page.locator("#sign-up-password").fill("correct horse battery staple")
        await page.get_by_role("button", name="Create account").click()
        await expect(page.locator("#message")).to_contain_text("A mail is on its way")

        (link,) = site.mails
        await page.goto(link)
        await page.get_by_label("Password").fill("correct horse battery staple")
        await page.get_by_role("button", name="Create account").click()
        await person.arrives_on_account()
        await person.sign_out()
        await page.locator("#sign-in-email").fill("ada@example.org")
        await page.locator("#sign-in-password").fill("wrong")
        await page.get_by_role("button", name="Sign in", exact=True).click()
        await expect(page.locator("#message[data-kind=error]")).to_be_visible()
        await page.locator("#sign-in-password").fill("correct horse battery staple")
        await page.get_by_role("button", name="Sign in", exact=True).click()
        await person.arrives_on_account()

        await page.get_by_role("button", name="Set a password").click()
        await page.get_by_label("New password").fill("another long password")
        await page.get_by_role("button", name="Save password").click()
        await expect(page.locator("#message")).to_have_text("Your password is set.")

        for email, waits in (("", False), ("grace@example.org", True)):
            other = await meet_person(at=site)
            await other.sign_up(email)
            await expect(other.page.locator("#password")).to_be_visible(visible=waits)
            await expect(other.page.get_by_role("button", name="Set a password")).to_be_hidden()
            await expect(other.page.locator("#password-waits")).to_be_visible(visible=waits)


async def test_signed_in_somebody_sees_one_thing_at_a_time(person: Person) -> None:
    page = person.page
    await person.sign_up()
    await person.touches(False)
    await person.open("sign-in")
    await expect(page.get_by_role("heading", level=1)).to_have_text("You are signed in")
    await page.get_by_role("link", name="Create an account").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Create your account")
    await page.goto("about:blank")
    await person.open("sign-in#sign-up")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Create your account")


async def test_a_slow_clock_puts_nothing_that_was_ahead(person: Person) -> None:
    await person.page.clock.set_fixed_time(datetime.now(UTC) - timedelta(minutes=12))
    await person.sign_up()
    await expect(person.page.locator("#session-rows .row-meta")).to_contain_text(
        "Last used just now · Signed in just now"
    )


async def test_an_address_is_confirmed_by_the_link_in_the_mail(person: Person) -> None:
    page = person.page
    person.site.mails.clear()
    await person.sign_up("margaret@example.org")
    await page.get_by_role("button", name="Send me a link").click()
    await expect(page.locator("#message")).to_contain_text("A mail is on its way")
    await page.goto(person.site.mails[-1])
    await page.get_by_role("button", name="Confirm").click()
    await expect(page.locator("#message")).to_have_text("Thank you. Your address is confirmed.")
    await page.goto("about:blank")
    await page.goto(person.site.mails[-1])
    await page.get_by_role("button", name="Confirm").click()
    await expect(page.locator("#message")).to_have_text("Your address is confirmed already.")
    await person.open("account")
    await person.sees_sections()
    await expect(page.locator("#unproven")).to_be_hidden()


async def _ask_for_reader(page: Page, narrower: str) -> None:
    """Ask for an agent with permissions that are written by hand, a line each."""
    await page.get_by_role("button", name="New agent").click()
    await page.get_by_role("textbox", name="Name").fill("Reader")
    await page.get_by_label("Narrower permissions").fill(narrower)
    await page.get_by_role("button", name="Create agent").click()


async def _secret(page: Page) -> str:
    await expect(page.locator("pre.secret")).not_to_have_text("")
    return await page.locator("pre.secret").inner_text()
