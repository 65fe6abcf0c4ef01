/** The account page: one's passkeys, recovery codes and sessions. Its agents and what they ask for have their own modules. */

import { kavach } from "./client.js";
import { manageAgents } from "./agents.js";
import { manageApprovals } from "./approvals.js";
import { busy, byId, dotted, forgetErrors, isFilled, moment, part, row, say, sayError } from "./dom.js";

const dialog = (name) => byId(`${name}-dialog`);

/** Asks before something that cannot be undone. */
function confirm({ title, text, yes, isDanger = false }) {
  const asking = dialog("confirm");
  part(asking, "title").textContent = title;
  part(asking, "text").textContent = text;
  part(asking, "yes").textContent = yes;
  part(asking, "yes").className = isDanger ? "button danger solid" : "button primary";
  return answered(asking);
}

/** Shows a secret that nobody can show again. */
function showSecret({ title, text, secret }) {
  const showing = dialog("secret");
  part(showing, "title").textContent = title;
  part(showing, "text").textContent = text;
  part(showing, "secret").textContent = secret;
  part(showing, "said").textContent = "";
  return answered(showing).then(() => (part(showing, "secret").textContent = ""));
}

/** Opens a dialog and gives whether it was closed with yes. */
function answered(opened) {
  opened.returnValue = "no";
  opened.showModal();
  return new Promise((resolve) => {
    opened.addEventListener("close", () => resolve(opened.returnValue === "yes"), { once: true });
  });
}

/** Does what needs a fresh session; where it is not, asks for a passkey first and then does it. */
async function freshly(act) {
  try {
    return await act();
  } catch (error) {
    if (error.code !== "SESSION_NOT_FRESH") throw error;
  }
  const hasPasskey = (await kavach.listPasskeys()).length > 0;
  const text = `It has been a while since you signed in. ${hasPasskey ? "Use your passkey once more" : "Sign in again"} to go on.`;
  const yes = hasPasskey ? "Use my passkey" : "Sign in again";
  if (!(await confirm({ title: "Confirm it is you", text, yes }))) return undefined;
  if (!hasPasskey) return toSignIn();
  await kavach.verify();
  return act();
}

/** Fills a list anew. What goes wrong is said in its place. */
async function fill(section, load, toRow) {
  const rows = byId(section).querySelector(".rows");
  try {
    const things = await load();
    rows.replaceChildren(...things.map(toRow));
    return things;
  } catch (error) {
    rows.replaceChildren();
    sayError(error);
    return null;
  } finally {
    byId(section).setAttribute("aria-busy", "false");
  }
}

const onClick = (within, name, act) =>
  within.querySelector(`[data-do="${name}"]`).addEventListener("click", (event) => void busy(event.target, act));

/* Passkeys. */

async function listPasskeys() {
  const passkeys = await fill("passkeys", kavach.listPasskeys, passkeyRow);
  if (passkeys === null) return;
  byId("no-passkeys").hidden = passkeys.length > 0;
  byId("one-device").hidden = !(passkeys.length === 1 && !passkeys[0].backedUp);
}

function passkeyRow(passkey) {
  const state = passkey.disabledAt ? "Disabled" : "";
  const made = row("passkey-row", { name: passkey.name, state }, passkey.id);
  const where = passkey.backedUp ? "Synced between your devices" : onlyHere(passkey);
  const used = passkey.lastUsedAt ? moment("Last used", passkey.lastUsedAt) : "Never used";
  dotted(part(made, "meta"), where, used, moment("Added", passkey.createdAt));
  const about = ` ${passkey.name}`;
  for (const button of made.querySelectorAll("button")) button.setAttribute("aria-label", button.textContent + about);
  onClick(made, "rename", () => renamePasskey(passkey));
  onClick(made, "delete", () => deletePasskey(passkey));
  return made;
}

const onlyHere = (passkey) =>
  passkey.deviceType === "single_device" ? "On one device only" : "Can be synced, and is not yet";

async function renamePasskey(passkey) {
  const input = byId("passkey-name");
  forgetErrors(byId("rename-form"));
  input.value = passkey.name;
  const answer = answered(dialog("rename"));
  input.select();
  if (!(await answer)) return;
  await kavach.renamePasskey(passkey.id, input.value.trim());
  await listPasskeys();
}

function saveName(event) {
  event.preventDefault();
  if (isFilled(event.target)) dialog("rename").close("yes");
}

async function deletePasskey(passkey) {
  const text = `“${passkey.name}” cannot be used to sign in any more.`;
  if (!(await confirm({ title: "Delete this passkey?", text, yes: "Delete passkey", isDanger: true }))) return;
  await freshly(() => kavach.deletePasskey(passkey.id));
  await listPasskeys();
}

async function addPasskey() {
  if (!(await freshly(kavach.addPasskey))) return;
  say("Your new passkey is ready.", "success");
  await listPasskeys();
}

/* Recovery codes. */

async function showRecovery() {
  try {
    const { codesLeft, emailLink } = await kavach.recovery.get();
    tellCodes(codesLeft, emailLink);
  } catch (error) {
    byId("codes-left").textContent = "";
    sayError(error);
  } finally {
    byId("recovery").setAttribute("aria-busy", "false");
  }
}

function tellCodes(left, hasEmailLink = false) {
  const place = byId("codes-left");
  const none = hasEmailLink ? "No codes: a link by e-mail is your one way back in." : "No codes to get back in with.";
  place.textContent = left === 0 ? none : `${left} unused codes left.`;
  place.dataset.kind = left === 0 ? "warning" : "info";
  byId("new-codes").textContent = left === 0 ? "Create codes" : "Replace codes";
}

async function createCodes() {
  const codes = await freshly(kavach.recovery.createCodes);
  if (!codes) return;
  tellCodes(codes.length);
  const text = "Keep them where you find them without this device. They are shown this once, and end all older ones.";
  await showSecret({ title: "Your recovery codes", text, secret: codes.join("\n") });
}

function tellAddress(user) {
  const place = byId("unproven");
  if (place === null || !user?.email || user.emailVerified) return;
  part(place, "email").textContent = user.email;
  place.hidden = false;
}

async function proveAddress() {
  await kavach.email.sendLink();
  byId("unproven").hidden = true;
  say("A mail is on its way. Open its link in this browser.");
}

/* Password. */

/** One belongs to an address: who has none is not asked for one. */
function offerPassword(user) {
  const panel = byId("password");
  if (panel === null) return;
  panel.hidden = byId("to-password").hidden = !user?.email;
  const waits = panel.hasAttribute("data-needs-proof") && !user?.emailVerified;
  byId("password-waits").hidden = !waits;
  byId("set-password").hidden = waits;
}

function setPassword(event) {
  event.preventDefault();
  if (!isFilled(event.target)) return;
  const opened = dialog("password");
  void busy(event.submitter ?? event.target, async () => {
    const password = byId("new-password").value;
    await freshly(async () => {
      await kavach.password.set(password);
      opened.close();
      say("Your password is set.", "success");
      await listSessions();
    });
  }, part(opened, "error"));
}

/* Sessions. */

async function listSessions() {
  const sessions = await fill("sessions", kavach.listSessions, sessionRow);
  byId("sign-out-others").hidden = (sessions ?? []).length < 2;
}

function sessionRow(session) {
  const isHere = session.id === kavach.getSnapshot().session?.id;
  const device = deviceOf(session.userAgent);
  const made = row("session-row", { name: device, state: isHere ? "This device" : "" }, session.id);
  dotted(part(made, "meta"), moment("Last used", session.lastUsedAt), moment("Signed in", session.createdAt), session.address);
  const end = made.querySelector("button");
  end.setAttribute("aria-label", `Sign out ${device}`);
  if (isHere) end.parentElement.remove();
  else {
    onClick(made, "end", async () => {
      await kavach.revokeSession(session.id);
      await listSessions();
    });
  }
  return made;
}

const BROWSERS = [
  [/Edg\//, "Edge"],
  [/OPR\//, "Opera"],
  [/Firefox\//, "Firefox"],
  [/Chrom(e|ium)\//, "Chrome"],
  [/Safari\//, "Safari"],
];
const SYSTEMS = [
  [/iPhone/, "iPhone"],
  [/iPad/, "iPad"],
  [/Android/, "Android"],
  [/Mac OS X/, "macOS"],
  [/Windows/, "Windows"],
  [/CrOS/, "ChromeOS"],
  [/Linux/, "Linux"],
];

/** A guess that people recognise, from a text that says little. */
function deviceOf(userAgent) {
  const named = (known) => known.find(([sign]) => sign.test(userAgent ?? ""))?.[1];
  const [browser, system] = [named(BROWSERS), named(SYSTEMS)];
  if (browser && system) return `${browser} on ${system}`;
  return browser ?? system ?? (userAgent ? userAgent.split(/[ /]/)[0] : "Unknown device");
}

async function endOthers() {
  await kavach.revokeOtherSessions();
  await listSessions();
  say("You are signed out everywhere else.", "success");
}

/* The page. */

const toSignIn = () => location.assign("sign-in?next=" + encodeURIComponent(location.pathname));

async function showMine() {
  const session = await kavach.getSession();
  if (session === null) return toSignIn();
  const { user } = kavach.getSnapshot();
  byId("who").textContent = user?.email ?? user?.name ?? session.userId;
  tellAddress(user);
  offerPassword(user);
  kavach.subscribe(() => kavach.getSnapshot().status === "anonymous" && toSignIn());
  return Promise.all([listPasskeys(), showRecovery(), listSessions()]);
}

function wire() {
  const press = (id, act) => byId(id)?.addEventListener("click", (event) => void busy(event.currentTarget, act));
  press("sign-out", kavach.signOut);
  press("add-passkey", addPasskey);
  press("new-codes", createCodes);
  press("sign-out-others", endOthers);
  press("prove-email", proveAddress);
  byId("set-password")?.addEventListener("click", () => {
    forgetErrors(byId("password-form"));
    byId("password-form").reset();
    dialog("password").showModal();
  });
  byId("password-form")?.addEventListener("submit", setPassword);
  byId("rename-form")?.addEventListener("submit", saveName);
  press("copy", async () => {
    await navigator.clipboard.writeText(part(dialog("secret"), "secret").textContent);
    part(dialog("secret"), "said").textContent = "Copied.";
  });
  for (const button of document.querySelectorAll("dialog [data-close]")) {
    button.addEventListener("click", () => button.closest("dialog").close("no"));
  }
  if (location.hash === "#recovered") {
    say("You are back in. Look through your sessions and agents below, and end what is not yours.", "success");
  }
}

wire();
void manageApprovals();
void manageAgents({ confirm, showSecret });
if (document.body.hasAttribute("data-has-session")) showMine().catch(sayError);
