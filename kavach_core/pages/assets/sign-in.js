/** The sign-in page. */

import { isSupported, kavach } from "./client.js";
import { busy, byId, isFilled, say, sayError, show } from "./dom.js";

const VIEWS = ["signed-in", "sign-in", "sign-up"].map(byId).filter(Boolean);
let isOffering = false;
const value = (id) => byId(id)?.value.trim() ?? "";

/** To where the server found it safe to go. */
const leave = () => location.assign(document.body.dataset.next);

function view(name) {
  for (const section of VIEWS) section.hidden = section.id !== name;
  for (const link of document.querySelectorAll("[data-shown-with]")) link.hidden = link.dataset.shownWith !== name;
  say("");
  show(byId(name));
  if (name === "sign-in" && !isOffering) void offerPasskeys();
}

function goTo(hash) {
  const name = hash.slice(1);
  if (VIEWS.some((section) => section.id === name)) view(name);
}

async function offerPasskeys() {
  isOffering = true;
  try {
    await kavach.autofill();
    leave();
  } catch (error) {
    // Nobody asked for anything yet: only what the server says to a passkey that was chosen is worth telling.
    if (error.status > 0) sayError(error);
    if (error.code !== "unsupported") byId("sign-in-email")?.addEventListener("focus", offerPasskeys, { once: true });
  }
}

function withPasskey(event) {
  event.preventDefault();
  void busy(byId("with-passkey"), async () => {
    await kavach.signIn();
    leave();
  });
}

function withPassword(event) {
  event.preventDefault();
  if (!isFilled(event.target)) return;
  void busy(event.submitter ?? event.target, async () => {
    await kavach.password.signIn({ email: value("sign-in-email"), password: byId("sign-in-password").value });
    leave();
  });
}

function signUp(event) {
  event.preventDefault();
  if (!isFilled(event.target)) return;
  void busy(byId("create"), async () => {
    const given = { email: value("sign-up-email"), name: value("sign-up-name") };
    if (usesPassword()) {
      const session = await kavach.password.signUp({ ...given, password: byId("sign-up-password").value });
      if (session === null) return say(`A mail is on its way to ${given.email}. Open its link to go on.`);
    } else {
      await kavach.register({ email: given.email, displayName: given.name });
    }
    return leave();
  });
}

const usesPassword = () => byId("password-instead")?.dataset.now === "password";

function togglePassword() {
  const button = byId("password-instead");
  const password = !usesPassword();
  button.dataset.now = password ? "password" : "passkey";
  button.textContent = password ? "Use a passkey instead" : "Use a password instead";
  byId("sign-up-password").required = password;
  byId("sign-up-email").required = password;
  for (const piece of byId("sign-up").querySelectorAll("[data-with]")) {
    piece.hidden = piece.dataset.with !== button.dataset.now;
  }
}

function start() {
  byId("passkey-form")?.addEventListener("submit", withPasskey);
  if (!byId("passkey-form")) byId("with-passkey").addEventListener("click", withPasskey);
  byId("password-form")?.addEventListener("submit", withPassword);
  byId("sign-up-form")?.addEventListener("submit", signUp);
  byId("password-instead")?.addEventListener("click", togglePassword);
  addEventListener("hashchange", () => goTo(location.hash));
  byId("sign-in-again")?.addEventListener("click", () => view("sign-in"));
  if (location.hash) goTo(location.hash);
  if (!isSupported()) {
    say("This browser cannot use passkeys here. They need a recent browser, and https.", "error");
    return;
  }
  if (!byId("signed-in") && !isOffering) void offerPasskeys();
}

start();
