/** The page to get back in on: a code or a link, then a new passkey. */

import { kavach } from "./client.js";
import { LINK_WORDS, busy, byId, isFilled, say, show } from "./dom.js";

const SECTIONS = ["start", "link", "add"].map(byId);

function step(id) {
  for (const section of SECTIONS) section.hidden = section.id !== id;
  show(byId(id));
}

/** The token of the link that was opened: behind its #, where no server sees it. It leaves the address bar. */
function takeToken() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token !== null) history.replaceState(null, "", location.pathname);
  return token;
}

/** What each form does; its button shows that it is at work. */
function onSubmit(id, act, words) {
  byId(id)?.addEventListener("submit", (event) => {
    event.preventDefault();
    if (isFilled(event.target)) void busy(event.target.querySelector("[type=submit]"), act, undefined, words);
  });
}

function start() {
  const token = takeToken();
  onSubmit("code-form", async () => {
    await kavach.recovery.useCode(byId("code").value.trim());
    step("add");
  });
  onSubmit("link-form", async () => {
    await kavach.recovery.sendLink(byId("email").value.trim());
    say("If this is the confirmed address of an account, a mail with a link is on its way to it.");
  });
  onSubmit("use-link-form", async () => {
    await kavach.recovery.useLink(token);
    step("add");
  }, LINK_WORDS);
  onSubmit("add-form", async () => {
    await kavach.addPasskey();
    location.assign("account#recovered");
  });
  // A link that is opened where this page is open already changes only what is behind the #.
  addEventListener("hashchange", () => location.reload());
  if (token !== null) step("link");
  // A page that is loaded again in the middle goes on where it was: the code is spent.
  else if (document.body.hasAttribute("data-recovering")) step("add");
}

start();
