/** The calls that wait for this human's consent, on the account page: show them, answer them, see new ones come. */

import { kavach } from "./client.js";
import { showArguments } from "./arguments.js";
import { busy, byId, dotted, moment, part, prospect, row, say, sayError } from "./dom.js";

const AT_ONCE = 20;
const EVERY_MS = 15_000;

const SAYS = {
  approved: "Approved. The call may go ahead once.",
  denied: "Denied.",
  used: "Approved, and the call was made.",
  expired: "Expired. The agent has to ask again.",
};
const GONE = "This request is not there any more.";
const INTRO = "Your agents ask before they do this. You agree to one call, exactly as it is shown.";

/** Puts them on the page, and keeps them as they are while somebody looks. */
export async function manageApprovals() {
  const section = byId("approvals");
  const rows = byId("approval-rows");
  /** Those that wait, by id, with the row of each. */
  const waiting = new Map();
  /** All that were ever shown: a list may be older than an answer, and has those of agents that ended. */
  const known = new Set();
  let isFirst = true;
  let isLoading = false;

  /**
   * Rows keep their place, those that were answered too: if one moved while somebody is about to press Approve, they
   * would agree to another. New ones come at the end.
   */
  async function load() {
    if (isLoading) return;
    isLoading = true;
    try {
      const found = await kavach.listApprovals({ status: "pending", limit: AT_ONCE });
      const fresh = found.filter(({ id }) => !known.has(id)).reverse();
      fresh.forEach(add);
      const listed = new Set(found.map(({ id }) => id));
      const missing = [...waiting.keys()].filter((id) => !listed.has(id));
      await Promise.all(missing.map(lookAgain));
      waiting.forEach(({ approval, made }) => tellTimes(approval, made));
      byId("more-approvals").hidden = found.length < AT_ONCE;
      if (!isFirst) announce(fresh);
      isFirst = false;
      tellCount();
    } finally {
      isLoading = false;
      section.setAttribute("aria-busy", "false");
    }
  }

  function add(approval) {
    const { agentName, action, resource, argumentsJson, redacted, cost, costUnit } = approval;
    const made = row("approval-row", { agent: agentName, action, resource }, approval.id);
    const title = part(made, "title");
    title.id = `${approval.id}-title`;
    made.setAttribute("aria-labelledby", title.id);
    const place = part(made, "arguments");
    place.hidden = argumentsJson === null;
    part(made, "no-arguments").hidden = argumentsJson !== null;
    if (argumentsJson !== null) showArguments(place.firstElementChild, argumentsJson, redacted);
    part(made, "cost").hidden = cost === null;
    part(made, "cost").textContent = cost === null ? "" : `Costs up to ${cost} ${costUnit}`;
    for (const button of made.querySelectorAll("button")) {
      button.setAttribute("aria-label", `${button.textContent} ${action} on ${resource} for ${agentName}`);
      button.addEventListener("click", () => void busy(button, () => answer(approval, button.dataset.do)));
    }
    section.hidden = byId("to-approvals").hidden = false;
    rows.append(made);
    part(made, "longer").hidden = place.scrollHeight <= place.clientHeight;
    waiting.set(approval.id, { approval, made });
    known.add(approval.id);
  }

  function tellTimes(approval, made) {
    part(made, "meta").replaceChildren();
    dotted(part(made, "meta"), moment("Asked", approval.createdAt), prospect("Expires", approval.expiresAt));
  }

  async function answer(approval, verb) {
    try {
      const { status } = await kavach[verb](approval.id);
      settle(approval.id, SAYS[status]);
      say(`${SAYS[status]} (${approval.action} on ${approval.resource}, ${approval.agentName})`, "success");
    } catch (error) {
      if (error.code !== "FINAL_STATE" && error.code !== "NOT_FOUND") throw error;
      const why = error.code === "NOT_FOUND" ? GONE : (SAYS[error.details.status] ?? error.message);
      settle(approval.id, why);
      say(`Your answer came too late. ${why}`, "error");
    }
  }

  /** What became of one that is not listed any more. It may only have been pushed off the list by newer ones. */
  async function lookAgain(id) {
    try {
      const { status } = await kavach.getApproval(id);
      if (status !== "pending") settle(id, SAYS[status]);
    } catch (error) {
      if (error.code !== "NOT_FOUND") throw error;
      settle(id, GONE);
    }
  }

  function settle(id, text) {
    const { made } = waiting.get(id) ?? {};
    if (!made) return;
    waiting.delete(id);
    const hadFocus = made.contains(document.activeElement);
    part(made, "actions").replaceChildren();
    part(made, "meta").textContent = text;
    made.classList.add("settled");
    if (hadFocus) goOn();
    tellCount();
  }

  /** To what waits next, for whoever uses the keyboard; nothing is pressed by pressing Enter twice. */
  function goOn() {
    const [next] = waiting.values();
    (next ? part(next.made, "title") : byId("approvals-title")).focus();
  }

  function tellCount() {
    const count = waiting.size;
    byId("approvals-intro").textContent = count === 0 ? "Nothing waits for you now." : INTRO;
    part(byId("to-approvals"), "count").textContent = count === 0 ? "" : String(count);
  }

  function announce(fresh) {
    if (fresh.length === 0) return;
    const [{ agentName, action, resource }] = fresh;
    const isOne = fresh.length === 1;
    say(isOne ? `${agentName} asks you: ${action} on ${resource}.` : `${fresh.length} new requests wait for you.`);
  }

  /** Those that were answered go while the page is out of sight, when nobody is about to press anything. */
  function tidy() {
    for (const old of rows.querySelectorAll(".settled")) if (!old.contains(document.activeElement)) old.remove();
  }

  const look = () => document.hidden || load().catch(() => {}); // the next look may go better
  document.addEventListener("visibilitychange", () => {
    tidy();
    look();
  });
  setInterval(look, EVERY_MS);
  await load().catch(sayError);
}
