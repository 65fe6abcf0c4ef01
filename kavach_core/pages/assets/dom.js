/** What the pages share: messages, busy buttons, times and rows. Text only ever becomes text. */

import { KavachError } from "./client.js";

const WORDS = {
  CHALLENGE_UNKNOWN: "That took too long. Please try again.",
  PASSKEY_REJECTED: "This passkey was not accepted.",
  PASSKEY_UNKNOWN: "This passkey is not known here any more. Use another, or get back in with a recovery code.",
  EMAIL_TAKEN: "This address has an account already. Sign in instead.",
  LAST_WAY_IN: "This is your only way in. Add another passkey or create recovery codes first.",
  SESSION_NOT_FRESH: "Please confirm first that it is you.",
  OWNER_SUSPENDED: "This account is suspended.",
  UNAUTHENTICATED: "You are signed out. Please sign in again.",
};

export const byId = (id) => document.getElementById(id);

export const part = (within, name) => within.querySelector(`[data-part="${name}"]`);

/** The sentence for an error, fit for the person in front of the screen. */
export function sentence(error) {
  if (!(error instanceof KavachError)) return "Something went wrong on this page.";
  if (error.code === "RATE_LIMITED") return `Too many attempts. Try again in ${duration(error.details.retryAfter)}.`;
  return WORDS[error.code] || error.message;
}

/** Says something where the page has its place for that; read out by screen readers. */
export function say(text, kind = "info", place = byId("message")) {
  place.textContent = text;
  place.dataset.kind = kind;
  place.hidden = text === "";
}

/** What was aborted was replaced by something else: there is nothing to tell. */
export function sayError(error, place) {
  if (error?.code === "aborted") return;
  if (!(error instanceof KavachError)) console.error(error);
  say(sentence(error), error?.code === "cancelled" ? "info" : "error", place);
}

/** Runs an action behind a button that shows it is at work. What goes wrong is said. Gives whether it succeeded. */
export async function busy(button, act, place) {
  if (button.getAttribute("aria-disabled") === "true") return false;
  // Not `disabled`: that would take the focus away from whoever uses the keyboard.
  button.setAttribute("aria-disabled", "true");
  say("", "info", place);
  try {
    await act();
    return true;
  } catch (error) {
    sayError(error, place);
    return false;
  } finally {
    button.removeAttribute("aria-disabled");
  }
}

/** Marks what is missing or wrong in a form, in the browser's own words, and goes to the first of it. */
export function isFilled(form) {
  const inputs = [...form.elements].filter((input) => input.willValidate && input.closest(".field"));
  inputs.forEach(unmark);
  const wrong = inputs.filter((input) => !input.checkValidity());
  wrong.forEach(mark);
  wrong[0]?.focus();
  return wrong.length === 0;
}

function mark(input) {
  const told = element("p", input.validationMessage, "field-error");
  told.id = `${input.id}-error`;
  input.after(told);
  input.setAttribute("aria-invalid", "true");
  input.setAttribute("aria-errormessage", told.id);
}

function unmark(input) {
  byId(`${input.id}-error`)?.remove();
  input.removeAttribute("aria-invalid");
  input.removeAttribute("aria-errormessage");
}

/** A copy of a template, with text in its parts; a part without text goes. */
export function row(template, texts = {}) {
  const made = byId(template).content.firstElementChild.cloneNode(true);
  for (const [name, text] of Object.entries(texts)) {
    const place = part(made, name);
    if (text) place.textContent = text;
    else place.remove();
  }
  return made;
}

export function element(tag, text, className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

/** "Last used 3 minutes ago", with the exact time on hover. */
export function moment(before, iso) {
  const made = element("span", `${before} `);
  const time = element("time", ago(iso));
  time.dateTime = iso;
  time.title = new Date(iso).toLocaleString();
  made.append(time);
  return made;
}

/** Pieces with a dot between them. */
export function dotted(place, ...pieces) {
  const shown = pieces.filter(Boolean);
  shown.forEach((piece, index) => {
    if (index > 0) place.append(" · ");
    place.append(piece);
  });
}

const UNITS = [
  ["year", 365 * 86_400],
  ["month", 30 * 86_400],
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
];

export function ago(iso) {
  const seconds = (Date.now() - Date.parse(iso)) / 1000;
  const [unit, size] = UNITS.find(([, long]) => Math.abs(seconds) >= long) ?? ["now", 1];
  if (unit === "now") return "just now";
  return new Intl.RelativeTimeFormat("en", { numeric: "auto" }).format(-Math.round(seconds / size), unit);
}

export function duration(seconds) {
  const [unit, size] = UNITS.slice(2).find(([, long]) => seconds >= long) ?? ["second", 1];
  const count = Math.max(1, Math.ceil((seconds || 1) / size));
  return `${count} ${unit}${count === 1 ? "" : "s"}`;
}

/** Shows a heading that was hidden, and reads it out. */
export function show(section) {
  section.hidden = false;
  section.querySelector("h1, h2").focus();
}
