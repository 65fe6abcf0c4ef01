"""The pages for those who see less, use no mouse, or hold a small screen; and arriving from another site."""

from __future__ import annotations

from typing import Any, Final

import pytest
from playwright.async_api import Page, expect

from tests.browser.site import Meet, Person

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

#: What is wrong with a page by WCAG 2.2 AA, as far as a script can see it.
_CHECKS: Final = """
() => {
  const shown = (node) => node.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  const all = (selector) => [...document.querySelectorAll(selector)].filter(shown);
  const wrong = [];
  const say = (what, node) => wrong.push(`${what}: ${node.outerHTML.slice(0, 90)}`);
  const parse = (color) => (color.match(/[\\d.]+/g) ?? []).map(Number);
  const luminance = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((c) => (c / 255 <= 0.03928 ? c / 3294.6 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const color = parse(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const contrast = (one, other) => {
    const [high, low] = [luminance(one), luminance(other)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
  };
  for (const node of all("body *")) {
    const hasText = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    const style = getComputedStyle(node);
    if (hasText && contrast(parse(style.color), ground(node)) < 4.5) say("contrast", node);
  }
  for (const node of all("input, select, textarea")) {
    if (node.labels.length === 0) say("no label", node);
    const edge = contrast(parse(getComputedStyle(node).borderTopColor), ground(node.parentElement));
    if (node.type !== "checkbox" && edge < 3) say("edge", node);
  }
  for (const node of all("button, a.button, input:not([type=checkbox]), select, .choice, .links a, .side a")) {
    if (node.getBoundingClientRect().height < 43.5) say("small target", node);
  }
  const pen = document.createElement("canvas").getContext("2d");
  for (const node of all(".side-by-side select")) {
    const { font, paddingLeft, paddingRight } = getComputedStyle(node);
    pen.font = font;
    const widest = Math.max(...[...node.options].map((option) => pen.measureText(option.text).width));
    const arrow = 16;
    if (widest > node.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight) - arrow) say("cut off", node);
  }
  for (const node of all(".side a .tag")) {
    const words = document.createRange();
    words.selectNodeContents(node.previousSibling ?? node.parentElement);
    if (node.getBoundingClientRect().left - words.getBoundingClientRect().right < 4) say("too close", node);
  }
  for (const node of all("button, a")) if (!node.innerText.trim() && !node.ariaLabel) say("no name", node);
  for (const name of ["aria-labelledby", "aria-describedby"]) {
    for (const node of document.querySelectorAll(`[${name}]`)) {
      const named = node.getAttribute(name).split(" ").map((id) => document.getElementById(id));
      if (named.includes(null)) say(`names nothing by ${name}`, node);
    }
  }
  const generic = "pre, code, p, div, span, strong, em, b, i";
  for (const node of document.querySelectorAll("[aria-label]:not([role]), [aria-labelledby]:not([role])")) {
    if (node.matches(generic)) say("a name that is not read out", node);
  }
  for (const node of all("[aria-invalid]")) {
    const told = (node.getAttribute("aria-describedby") ?? "").split(" ").map((id) => document.getElementById(id));
    if (!told.some((error) => error?.classList.contains("field-error"))) say("an error that is not read out", node);
  }
  const ids = [...document.querySelectorAll("[id]")].map((node) => node.id);
  if (new Set(ids).size !== ids.length) wrong.push("an id is used twice");
  if (all("h1").length !== 1) wrong.push(`${all("h1").length} main headings`);
  if (all("main").length !== 1 || !document.documentElement.lang || !document.title) wrong.push("frame");
  if (document.querySelector("[style], style, script:not([src]), [onclick]")) wrong.push("inline");
  if (document.documentElement.scrollWidth > innerWidth) wrong.push("scrolls sideways");
  return wrong;
}
"""
#: The narrowest that WCAG asks for, and a phone of today has more.
_SMALL: Final[dict[str, Any]] = {"color_scheme": "dark", "viewport": {"width": 320, "height": 640}}


@pytest.mark.parametrize("options", [{"color_scheme": "light"}, _SMALL], ids=["light", "dark and narrow"])
async def test_pages_and_dialogs_can_be_read_and_touched(meet_person: Meet, options: dict[str, Any]) -> None:
    person = await meet_person(**options, reduced_motion="reduce")
    page = person.page
    await person.touches(False)
    for path, heading in (
        ("sign-in", "Sign in"),
        ("sign-in#sign-up", "Create your account"),
        ("recover", "Get back in"),
        ("recover#token=t", "Get back in"),
        ("verify-email", "Confirm your e-mail"),
        ("verify-email#token=t", "Confirm your e-mail"),
        ("verify-email#sign-up=t", "Confirm your e-mail"),
    ):
        await page.goto("about:blank")
        await person.open(path)
        await expect(page.get_by_role("heading", name=heading)).to_be_visible()
        assert await _wrong(page) == [], path
    await person.touches(True)
    await person.sign_up(f"ada{'ofaverylongname' * 3}{options['color_scheme']}@mail.subdomain.example.org")
    await _give_agents(person)
    await page.reload()
    await person.sees_sections()
    await page.evaluate("document.querySelector('.mark-name').textContent = 'An App With 39 Letters In Its Long Name'")
    assert await _wrong(page) == []
    for button in ("New agent", "Budgets for", "Revoke for", "Rename", "Create codes"):
        await page.get_by_role("button", name=button).first.click()
        await expect(page.locator("dialog[open]")).to_be_visible()
        if button in ("New agent", "Rename"):
            field = page.locator("dialog[open]").get_by_label("Name", exact=True)
            await field.fill("  ")
            await page.keyboard.press("Enter")
            await expect(page.locator("dialog[open] .field-error")).to_be_visible()
            await expect(field).to_be_focused()
        assert await _wrong(page) == [], button
        await page.keyboard.press("Escape")
        await expect(
            page.get_by_role("button", name="Replace codes" if "codes" in button else button).first
        ).to_be_focused()


async def test_the_checks_find_what_is_wrong(person: Person) -> None:
    await person.open("recover")
    await person.page.evaluate(
        """() => {
          const main = document.querySelector("main");
          const made = (tag, more) => main.append(Object.assign(document.createElement(tag), more));
          made("input", {});
          made("button", {});
          made("h1", { textContent: "Another" });
          made("pre", { ariaLabel: "A name" });
          const pale = document.createElement("p");
          pale.textContent = "pale";
          pale.setAttribute("class", "pale");
          main.append(pale);
          const sheet = new CSSStyleSheet();
          sheet.replaceSync(".pale { color: #999; width: 3000px } button { min-height: 0 }");
          document.adoptedStyleSheets = [sheet];
        }"""
    )
    found = {each.partition(":")[0] for each in await _wrong(person.page)}
    assert {"contrast", "no label", "no name", "small target", "2 main headings", "scrolls sideways"} <= found
    assert "a name that is not read out" in found


async def test_signing_in_with_the_keyboard_alone(person: Person) -> None:
    page = person.page
    await person.sign_up()
    await page.get_by_role("button", name="Sign out", exact=True).focus()
    await person.touches(False)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    await page.wait_for_load_state("networkidle")  # autofill waits by then, and a touch is for what asks after it
    await person.touches(True)
    await page.keyboard.press("Tab")
    await expect(page.get_by_label("E-mail").first).to_be_focused()
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("button", name="Sign in with a passkey")).to_be_focused()
    outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    await page.keyboard.press("Enter")
    await person.arrives_on_account()
    await page.keyboard.press("Tab")
    await expect(page.get_by_text("Skip to content")).to_be_focused()
    await expect(page.get_by_text("Skip to content")).to_be_in_viewport()


async def test_the_keyboard_goes_on_where_it_was(person: Person) -> None:
    """Rows are made anew and buttons go; a focus that went with them would begin at the top of the page."""
    page = person.page
    await person.sign_up()
    user = (await page.evaluate("fetch('session').then((answer) => answer.json())"))["userId"]
    await person.site.kavach.sessions.create(user)
    await person.site.kavach.agents.create(owner_id=user, name="one")
    await page.reload()
    await person.sees_sections()
    await page.get_by_role("button", name="Rename").focus()
    await page.keyboard.press("Enter")
    await page.keyboard.type("Laptop")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Rename Laptop")).to_be_focused()
    await page.get_by_role("button", name="Revoke for one").focus()
    for key in ("Enter", "Tab", "Enter"):
        await page.keyboard.press(key)
    await expect(page.locator("#message")).to_have_text("one is revoked.")
    await expect(page.get_by_role("heading", name="Agents", exact=True)).to_be_focused()
    await page.get_by_role("button", name="Sign out all others").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Sessions", exact=True)).to_be_focused()


async def test_what_is_said_can_be_seen_wherever_somebody_is(meet_person: Meet) -> None:
    person = await meet_person(viewport={"width": 390, "height": 500})
    page = person.page
    await person.sign_up()
    await page.locator("#sessions").scroll_into_view_if_needed()
    await page.get_by_role("button", name="Delete").click()
    await page.get_by_role("button", name="Delete passkey", exact=True).click()
    message = page.locator("#message")
    await expect(message).to_have_text("This is your only way in. Add another passkey first.")
    await page.evaluate("scrollTo({ top: document.body.scrollHeight, behavior: 'instant' })")
    await expect(message).to_be_in_viewport(ratio=1)
    bar, place = await page.locator(".bar").bounding_box(), await message.bounding_box()
    assert bar is not None and place is not None and place["y"] >= bar["y"] + bar["height"]


async def test_a_link_on_another_site_leads_to_the_page_and_not_to_a_login(person: Person) -> None:
    await person.sign_up()
    await person.page.goto(f"http://127.0.0.1:{person.site.port}/")
    await person.page.get_by_role("link", name="My account").click()
    await person.arrives_on_account()


async def test_nobody_signed_in_who_follows_such_a_link_gets_the_login(person: Person) -> None:
    await person.page.goto(f"http://127.0.0.1:{person.site.port}/")
    await person.page.get_by_role("link", name="My account").click()
    await expect(person.page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert person.page.url.endswith("/sign-in?next=%2Fapi%2Fkavach%2Faccount")


async def _wrong(page: Page) -> list[str]:
    return list(await page.evaluate(_CHECKS))


async def _give_agents(person: Person) -> None:
    user = (await person.page.evaluate("fetch('session').then((answer) => answer.json())"))["userId"]
    agents = person.site.kavach.agents
    consent = {"resource": "files:" + "a-long-name" * 9, "actions": ["drop"], "constraints": {"requireApproval": True}}
    asking = await agents.create(owner_id=user, name="Asks", permissions=[consent])
    call = {"action": "drop", "resource": consent["resource"], "arguments": {"token": "x", "because": ["y" * 999] * 9}}
    await person.site.kavach.authorize(asking.token, **call)
    await person.site.kavach.budgets.create(owner_id=user, limit=10, per="hour")
    long = [f"read:{'directory-of-many-things:' * 5}{number}" for number in range(12)]
    giver = await agents.create(owner_id=user, name="An agent with " + "a-rather-long-name" * 4, permissions=long)
    await agents.delegate(from_=giver.id, permissions=long[:1], name="Below")
