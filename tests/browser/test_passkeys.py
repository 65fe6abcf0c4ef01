"""Passkeys in a real browser: sign up, sign in, autofill, a second one, a cloned one, sign out, recover."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser.site import Meet, Person

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PASSKEYS = "#passkey-rows .row"


async def test_somebody_signs_up_signs_out_and_signs_in_with_the_button(person: Person) -> None:
    await person.sign_up("ada@example.org")
    await expect(person.page.locator("#who")).to_have_text("ada@example.org")
    await expect(person.page.locator(PASSKEYS)).to_have_count(1)
    await person.sign_out()
    await person.touches(True)
    await person.page.get_by_role("button", name="Sign in with a passkey").click()
    await person.arrives_on_account()
    cookies = {cookie["name"]: cookie for cookie in await person.context.cookies()}
    assert cookies["kv_session"]["httpOnly"] and cookies["kv_session"]["sameSite"] == "Strict"


async def test_autofill_signs_in_and_leads_to_where_the_guard_stopped_them(person: Person) -> None:
    await person.sign_up()
    await person.sign_out()
    await person.page.goto(f"{person.site.origin}/dashboard?tab=2")
    await expect(person.page).to_have_url(f"{person.site.mount}/sign-in?next=%2Fdashboard%3Ftab%3D2")
    await person.touches(True)
    await person.page.reload()
    await expect(person.page).to_have_url(f"{person.site.origin}/dashboard?tab=2")


async def test_a_second_device_gets_a_passkey_and_the_first_gets_no_other(person: Person) -> None:
    await person.sign_up()
    await expect(person.page.locator("#one-device")).to_be_visible()
    add = person.page.get_by_role("button", name="Add a passkey")
    await add.click()
    await expect(person.page.locator("#message")).to_have_text("This device already has a passkey for this account.")
    await person.takes_another_device(transport="usb", defaultBackupEligibility=True, defaultBackupState=True)
    await add.click()
    await expect(person.page.locator(PASSKEYS)).to_have_count(2)
    await expect(person.page.locator("#message")).to_have_text("Your new passkey is ready.")
    await expect(person.page.locator("#one-device")).to_be_hidden()
    await expect(person.page.get_by_text("Synced between your devices")).to_have_count(1)
    await person.sign_out()
    await person.touches(True)
    await person.page.get_by_role("button", name="Sign in with a passkey").click()
    await person.arrives_on_account()


async def test_passkeys_are_renamed_and_deleted_but_not_the_last(person: Person) -> None:
    await person.sign_up()
    await person.takes_another_device(transport="usb")
    await person.page.get_by_role("button", name="Add a passkey").click()
    await expect(person.page.locator(PASSKEYS)).to_have_count(2)
    await person.page.locator(PASSKEYS).first.get_by_role("button", name="Rename").click()
    await person.page.get_by_role("textbox", name="Name").fill("<b>Blue</b> key")
    await person.page.get_by_role("button", name="Save").click()
    renamed = person.page.locator(PASSKEYS).filter(has_text="<b>Blue</b> key")
    await expect(renamed).to_have_count(1)
    await renamed.get_by_role("button", name="Delete").click()
    await person.page.get_by_role("button", name="Delete passkey").click()
    await expect(person.page.locator(PASSKEYS)).to_have_count(1)
    await person.page.locator(PASSKEYS).get_by_role("button", name="Delete").click()
    await person.page.get_by_role("button", name="Delete passkey").click()
    await expect(person.page.locator("#message")).to_contain_text("your only way in")
    await expect(person.page.locator(PASSKEYS)).to_have_count(1)


async def test_a_cloned_key_is_refused(person: Person) -> None:
    await person.sign_up()
    await person.sign_out()
    await person.touches(True)
    await person.page.get_by_role("button", name="Sign in with a passkey").click()
    await person.arrives_on_account()
    key = {"authenticatorId": person.authenticator}
    (credential,) = (await person.cdp.send("WebAuthn.getCredentials", key))["credentials"]
    assert credential["signCount"] > 1
    await person.sign_out()
    clone = {**credential, "signCount": 0}
    await person.cdp.send("WebAuthn.removeCredential", {**key, "credentialId": credential["credentialId"]})
    await person.cdp.send("WebAuthn.addCredential", {**key, "credential": clone})
    await person.touches(True)
    await person.page.get_by_role("button", name="Sign in with a passkey").click()
    await expect(person.page.locator("#message")).to_have_text("This passkey was not accepted.")
    assert "kv_session" not in {cookie["name"] for cookie in await person.context.cookies()}


async def test_signing_out_is_seen_by_the_other_tab(person: Person) -> None:
    await person.sign_up()
    other = await person.context.new_page()
    await other.goto(f"{person.site.mount}/account")
    await expect(other.locator("section[aria-busy=true]")).to_have_count(0)
    await person.sign_out()
    await expect(other.get_by_role("heading", name="Sign in")).to_be_visible()


async def test_a_recovery_code_leads_to_a_new_passkey_once(person: Person, meet_person: Meet) -> None:
    await person.sign_up("grace@example.org")
    await person.page.get_by_role("button", name="Create codes").click()
    await expect(person.page.locator("pre.secret")).not_to_have_text("")
    codes = (await person.page.locator("pre.secret").inner_text()).split()
    assert len(codes) == 10
    await person.page.get_by_role("button", name="I have saved it").click()
    await expect(person.page.locator("#codes-left")).to_have_text("10 unused codes left.")

    later = await meet_person()
    await later.open("recover")
    await later.page.get_by_label("Recovery code").fill(codes[0])
    await later.page.get_by_role("button", name="Continue").click()
    await expect(later.page.get_by_role("heading", name="Make a new passkey")).to_be_focused()
    # The code is spent: a page that is loaded again goes on behind it.
    await later.page.reload()
    await later.page.get_by_role("button", name="Create a passkey").click()
    await expect(later.page).to_have_url(f"{person.site.mount}/account#recovered")
    await later.sees_sections()
    await expect(later.page.locator("#who")).to_have_text("grace@example.org")
    await expect(later.page.locator(PASSKEYS)).to_have_count(2)

    again = await meet_person()
    await again.open("recover")
    await again.page.get_by_label("Recovery code").fill(codes[0])
    await again.page.get_by_role("button", name="Continue").click()
    await expect(again.page.locator("#message[data-kind=error]")).to_be_visible()


async def test_a_browser_without_passkeys_is_told_and_shown_what_was_asked_for(person: Person) -> None:
    """There may be a password to choose."""
    await person.context.add_init_script("delete globalThis.PublicKeyCredential")
    await person.open("sign-in#sign-up")
    await expect(person.page.get_by_role("heading", name="Create your account")).to_be_visible()
    await expect(person.page.get_by_text("This browser cannot use passkeys here.")).to_be_visible()


async def test_a_code_typed_before_the_script_is_there_is_sent_nowhere(meet_person: Meet) -> None:
    """A browser would put it into the address of a page, which is in logs and histories."""
    person = await meet_person(java_script_enabled=False)
    await person.open("recover")
    asked: list[str] = []
    person.page.on("request", lambda request: asked.append(request.url))
    await person.page.get_by_label("Recovery code").fill("a-recovery-code")
    async with person.page.expect_console_message(lambda message: "form-action 'none'" in message.text):
        await person.page.keyboard.press("Enter")
    assert person.page.url == f"{person.site.mount}/recover" and asked == []
    person.faults.clear()


async def test_a_recovery_link_does_nothing_before_its_button_is_pressed(person: Person, meet_person: Meet) -> None:
    await person.sign_up()
    session = await person.page.evaluate("fetch('session').then((answer) => answer.json())")
    link = await person.site.kavach.auth.recovery.issue_link(session["userId"])
    scanner, later = await meet_person(), await meet_person()
    for each in (scanner, later):
        await each.open(f"recover#token={link.token}")
        await expect(each.page).to_have_url(f"{person.site.mount}/recover")
    await later.page.get_by_role("button", name="Use this link").click()
    await later.page.get_by_role("button", name="Create a passkey").click()
    await expect(later.page).to_have_url(f"{person.site.mount}/account#recovered")
    await later.sees_sections()
    await scanner.page.get_by_role("button", name="Use this link").click()
    await expect(scanner.page.locator("#message[data-kind=error]")).to_contain_text("This link was used already")
