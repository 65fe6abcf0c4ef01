/** What the pages share: messages, busy buttons, times and rows. Text only ever becomes text. */

import { KavachError } from "./client.js";

const WORDS = {
  CHALLENGE_UNKNOWN: "That took too long. Please try again.",
  PASSKEY_REJECTED: "This passkey was not accepted.",
  PASSKEY_UNKNOWN: "This passkey is not known here any more. Use another, or get back in with a recovery code.",
  EMAIL_TAKEN: "This address has an account already. Sign in instead.",
  LAST_WAY_IN: "This is your only way in. Add another passkey first.",
  SESSION_NOT_FRESH: "Please confirm first that it is you.",
  OWNER_SUSPENDED: "This account is suspended.",
  UNAUTHENTICATED: "You are signed out. Please sign in again.",
};

/** For what the link of a mail leads to: it is not the person who took too long. */
export const LINK_WORDS = { CHALLENGE_UNKNOWN: "This link was used already, or it is too old. Ask for a new one." };

export const byId = (id) => document.getElementById(id);

export const part = (within, name) => within.querySelector(`[data-part="${name}"]`);

/** The sentence for an error, fit for the person in front of the screen. `words` go before those of all pages. */
export function sentence(error, words = {}) {
  if (!(error instanceof KavachError)) return "Something went wrong on this page.";
  if (error.code === "RATE_LIMITED") return `Too many attempts. Try again in ${duration(error.details.retryAfter)}.`;
  return words[error.code] || WORDS[error.code] || error.message;
}

/** Says something where the page has its place for that; read out by screen readers. */
export function say(text, kind = "info", place = byId("message")) {
  place.textContent = text;
  place.dataset.kind = kind;
  place.hidden = text === "";
}

/** What was aborted was replaced by something else: there is nothing to tell. */
export function sayError(error, place, words) {
  if (error?.code === "aborted") return;
  if (!(error instanceof KavachError)) console.error(error);
  say(sentence(error, words), error?.code === "cancelled" ? "info" : "error", place);
}

/** Runs an action behind a button that shows it is at work. What goes wrong is said. Gives whether it succeeded. */
export async function busy(button, act, place, words) {
  if (button.getAttribute("aria-disabled") === "true") return false;
  const giveFocusBack = focusKeeper(button);
  // Not `disabled`: that would take the focus away from whoever uses the keyboard.
  button.setAttribute("aria-disabled", "true");
  say("", "info", place);
  try {
    await act();
    return true;
  } catch (error) {
    sayError(error, place, words);
    return false;
  } finally {
    button.removeAttribute("aria-disabled");
    giveFocusBack();
  }
}

/**
 * Remembers where a button is. Once it is gone, because its row was made anew or there is nothing left to press, the
 * focus goes to the same button of the same row or to the heading of the section: else the keyboard begins at the top.
 */
function focusKeeper(button) {
  const section = button.closest("section");
  const verb = button.dataset.do;
  const id = button.closest("[data-id]")?.dataset.id;
  return () => {
    const isLost = document.activeElement === document.body || !document.activeElement.checkVisibility();
    if (section === null || !isLost) return;
    const row = [...section.querySelectorAll("[data-id]")].find((each) => each.dataset.id === id);
    const heir = row?.querySelector(`[data-do="${verb}"]`) ?? section.querySelector("h1, h2");
    heir.focus();
  };
}

/** Marks what is missing or wrong in a form, in the browser's own words, and goes to the first of it. */
export function isFilled(form) {
  const inputs = [...form.elements].filter((input) => input.willValidate && input.closest(".field"));
  inputs.forEach(unmark);
  inputs.filter(isBlank).forEach((input) => input.setCustomValidity("Please fill out this field."));
  const wrong = inputs.filter((input) => !input.checkValidity());
  wrong.forEach(mark);
  wrong[0]?.focus();
  return wrong.length === 0;
}

const isBlank = (input) => input.required && input.type !== "password" && input.value.trim() === "";

/** For a form that is opened anew. */
export function forgetErrors(form) {
  [...form.elements].filter((input) => input.willValidate).forEach(unmark);
}

/** The error is a part of what describes the input: screen readers read that out when the input gets the focus. */
function mark(input) {
  const told = element("p", input.validationMessage, "field-error");
  told.id = `${input.id}-error`;
  input.after(told);
  input.setAttribute("aria-invalid", "true");
  input.setAttribute("aria-describedby", [told.id, ...describedBy(input)].join(" "));
}

function unmark(input) {
  input.setCustomValidity("");
  byId(`${input.id}-error`)?.remove();
  input.removeAttribute("aria-invalid");
  const rest = describedBy(input).filter((id) => id !== `${input.id}-error`);
  if (rest.length > 0) input.setAttribute("aria-describedby", rest.join(" "));
  else input.removeAttribute("aria-describedby");
}

const describedBy = (input) => (input.getAttribute("aria-describedby") ?? "").split(" ").filter(Boolean);

/** A copy of a template for the thing with an id, with text in its parts; a part without text goes. */
export function row(template, texts = {}, id = "") {
  const made = byId(template).content.firstElementChild.cloneNode(true);
  made.dataset.id = id;
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
export const moment = (before, iso) => timed(before, iso, Math.min(0, secondsUntil(iso)));

/** The same for what is to come: "Ends in 3 days". */
export const prospect = (before, iso) => timed(before, iso, secondsUntil(iso));

function timed(before, iso, seconds) {
  const made = element("span", `${before} `);
  const time = element("time", fromNow(seconds));
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

/** By the clock of this device, which may be slow: what was cannot lie ahead, whatever it says. */
const secondsUntil = (iso) => (Date.parse(iso) - Date.now()) / 1000;

function fromNow(seconds) {
  const [unit, size] = UNITS.find(([, long]) => Math.abs(seconds) >= long) ?? ["now", 1];
  if (unit === "now") return seconds > 0 ? "in a moment" : "just now";
  return new Intl.RelativeTimeFormat("en", { numeric: "auto" }).format(Math.round(seconds / size), unit);
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
