/** The page that a mail leads to: a press of the button shows that somebody reads that mail. */

import { kavach } from "./client.js";
import { LINK_WORDS, busy, byId, isFilled, say, show } from "./dom.js";

// Behind the #, so that no server on the way has seen it.
const carried = new URLSearchParams(location.hash.slice(1));
const forget = () => history.replaceState(null, "", location.pathname);

function onSubmit(id, act) {
  byId(id).addEventListener("submit", (event) => {
    event.preventDefault();
    const button = event.target.querySelector("[type=submit]");
    if (isFilled(event.target)) void busy(button, act, undefined, LINK_WORDS);
  });
}

onSubmit("confirm-form", async () => {
  if ((await kavach.getSession()) === null) {
    say("Sign in first, in this browser. Then open the link in the mail once more.", "error");
    return;
  }
  // A link is used once; whoever opens it again is not told that something is wrong.
  const wasConfirmed = kavach.getSnapshot().user?.emailVerified ?? false;
  if (!wasConfirmed) await kavach.email.confirm(carried.get("token"));
  forget();
  byId("confirm-form").hidden = true;
  byId("confirm-lead").hidden = true;
  say(wasConfirmed ? "Your address is confirmed already." : "Thank you. Your address is confirmed.", "success");
  byId("message").focus();
});

onSubmit("finish-form", async () => {
  await kavach.password.confirmSignUp({ token: carried.get("sign-up"), password: byId("password").value });
  forget();
  location.assign("account");
});

// A link that is opened where this page is open already changes only what is behind the #.
addEventListener("hashchange", () => location.reload());
if (carried.has("token")) show(byId("confirm"));
else if (carried.has("sign-up")) show(byId("finish"));
else show(byId("lost"));
