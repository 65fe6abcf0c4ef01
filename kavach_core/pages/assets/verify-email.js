/** The page that a mail leads to: a press of the button shows that somebody reads that mail. */

import { kavach } from "./client.js";
import { busy, byId, isFilled, say, show } from "./dom.js";

// Behind the #, so that no server on the way has seen it.
const carried = new URLSearchParams(location.hash.slice(1));
const forget = () => history.replaceState(null, "", location.pathname);

function onSubmit(id, act) {
  byId(id).addEventListener("submit", (event) => {
    event.preventDefault();
    if (isFilled(event.target)) void busy(event.target.querySelector("[type=submit]"), act);
  });
}

onSubmit("confirm-form", async () => {
  if ((await kavach.getSession()) === null) {
    say("Sign in first, in this browser. Then open the link in the mail once more.", "error");
    return;
  }
  await kavach.email.confirm(carried.get("token"));
  forget();
  byId("confirm").hidden = true;
  say("Thank you. Your address is confirmed.", "success");
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
else say("This page is for the link in a mail. Please open that link again.", "error");
