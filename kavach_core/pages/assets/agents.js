/** The agents of the account page: list, make, bound, new token, revoke. */

import { budgetDialog, showLeft } from "./budgets.js";
import { kavach } from "./client.js";
import {
  busy,
  byId,
  dotted,
  duration,
  element,
  forgetErrors,
  isFilled,
  moment,
  part,
  prospect,
  row,
  say,
  sayError,
} from "./dom.js";

const AT_ONCE = 50;
const MOST_CHIPS = 8;

/** Puts the agents on the page. What asks and what shows a secret comes from the page. */
export async function manageAgents({ confirm, showSecret }) {
  const shown = [];
  let mayGive = [];

  async function load(more = false) {
    try {
      const found = await kavach.listAgents({ limit: AT_ONCE, offset: more ? shown.length : 0, status: "active" });
      if (!more) shown.length = 0;
      shown.push(...found);
      byId("agent-rows").replaceChildren(...shown.map(agentRow));
      byId("no-agents").hidden = shown.length > 0;
      byId("more-agents").hidden = found.length < AT_ONCE;
    } catch (error) {
      byId("agent-rows").replaceChildren();
      sayError(error);
    } finally {
      byId("agents").setAttribute("aria-busy", "false");
    }
  }

  function agentRow(agent) {
    const made = row("agent-row", { name: agent.name, state: agent.type === "delegated" ? "delegated" : "" }, agent.id);
    void showPermissions(agent, part(made, "permissions"));
    showLeft(agent, part(made, "left")).catch(sayAndGoOn);
    const used = agent.lastUsedAt ? moment("Last used", agent.lastUsedAt) : "Never used";
    dotted(part(made, "meta"), used, moment("Created", agent.createdAt), ending(agent));
    for (const button of made.querySelectorAll("button")) {
      button.setAttribute("aria-label", `${button.textContent} for ${agent.name}`);
      button.addEventListener("click", () => void busy(button, () => verbs[button.dataset.do](agent)));
    }
    return made;
  }

  /** A delegated agent has none of its own: what was given to it can change with those above it. */
  async function showPermissions(agent, place) {
    const given = agent.type === "delegated" ? await kavach.effectivePermissions(agent.id).catch(sayAndGoOn) : agent.permissions;
    place.replaceChildren(...chips(given));
  }

  const bound = budgetDialog();

  const verbs = {
    async bound(agent) {
      await bound(agent);
      await load();
    },
    async rotate(agent) {
      const text = "The old token stops working at once. Whatever uses it needs the new one.";
      if (!(await confirm({ title: `New token for ${agent.name}?`, text, yes: "Make a new token" }))) return;
      const rotated = await kavach.rotateAgent(agent.id);
      await showToken(rotated);
    },
    async revoke(agent) {
      const text = "It stops working at once, and so does every agent it made. This cannot be undone.";
      if (!(await confirm({ title: `Revoke ${agent.name}?`, text, yes: "Revoke agent", isDanger: true }))) return;
      await kavach.revokeAgent(agent.id);
      say(`${agent.name} is revoked.`, "success");
      await load();
    },
  };

  function showToken(agent) {
    const text = "Put it where the agent finds it. It is shown this once and nowhere else.";
    return showSecret({ title: `The token of ${agent.name}`, text, secret: agent.token });
  }

  async function create() {
    const agent = await kavach.createAgent({
      name: byId("agent-name").value.trim(),
      permissions: chosen(mayGive),
      ttl: byId("agent-ttl").value || null,
    });
    byId("agent-dialog").close();
    await load();
    await showToken(agent);
  }

  function openForm() {
    forgetErrors(byId("agent-form"));
    byId("agent-form").reset();
    byId("choices").replaceChildren(...mayGive.map(choice));
    byId("narrower").hidden = !mayGive.some(isPattern);
    say("", "error", formError());
    byId("agent-dialog").showModal();
  }

  const formError = () => part(byId("agent-dialog"), "error");

  byId("new-agent").addEventListener("click", openForm);
  byId("more-agents").addEventListener("click", (event) => void busy(event.target, () => load(true)));
  byId("agent-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (isFilled(event.target)) void busy(event.submitter ?? event.target, create, formError());
  });

  const [given] = await Promise.all([kavach.grantable().catch(sayAndGoOn), load()]);
  mayGive = given.flatMap(pairs);
  byId("new-agent").hidden = mayGive.length === 0;
  const known = mayGive.length > 0 ? "may-create" : "may-not-create";
  for (const line of document.querySelectorAll("#no-agents [data-when]")) line.hidden = line.dataset.when !== known;
}

function sayAndGoOn(error) {
  sayError(error);
  return [];
}

/** One permission for each action, as people tick them one by one. */
const pairs = ({ actions, ...rest }) => actions.map((action) => ({ ...rest, actions: [action] }));

const isPattern = ({ resource, actions }) => resource.includes("*") || actions.includes("*");

/** `read:repos`; where only that can say it, `read on a:b:c`. */
const named = ({ resource, actions }) =>
  resource === "*" && actions[0] === "*" ? "everything" : `${actions.join(", ")}:${resource}`;

const LIMITS = {
  maxCallsPerHour: (most) => `at most ${most} calls an hour`,
  allowedArgPatterns: () => "only with some arguments",
  requireApproval: (needed) => (needed ? "each call is approved" : ""),
  timeWindow: ({ start, end }) => `from ${start} to ${end} UTC`,
  ipAllowlist: () => "only from some addresses",
};

const limits = ({ constraints = {} }) =>
  Object.entries(constraints)
    .map(([name, about]) => LIMITS[name]?.(about) ?? name)
    .filter(Boolean)
    .join(", ");

function chips(permissions) {
  if (permissions.length === 0) return [element("li", "no permissions", "chip empty-chip")];
  const made = permissions.slice(0, MOST_CHIPS).map((permission) => {
    const chip = element("li", named(permission), "chip");
    if (limits(permission)) chip.append(" ", element("span", limits(permission), "chip-limit"));
    return chip;
  });
  const rest = permissions.length - MOST_CHIPS;
  return rest > 0 ? [...made, element("li", `and ${rest} more`, "chip empty-chip")] : made;
}

function choice(permission, index) {
  const made = row("permission-choice", { name: named(permission), limits: limits(permission) });
  made.querySelector("input").value = String(index);
  return made;
}

/** What is ticked, with its limits, and what was written by hand. */
function chosen(mayGive) {
  const ticked = [...byId("choices").querySelectorAll("input:checked")].map((input) => mayGive[Number(input.value)]);
  const written = byId("agent-permissions").value.split(/[\n,]+/).map((line) => line.trim());
  return [...ticked, ...written.filter(Boolean).map((line) => within(line, mayGive))];
}

/** What was written, with the limits of what it is a part of: it may not be given without them. The server decides. */
function within(line, mayGive) {
  const [, action, resource] = /^([^:]+):(.+)$/.exec(line) ?? [];
  const above = mayGive.filter((given) => ["*", action].includes(given.actions[0]) && reaches(given.resource, resource));
  const bound = above.find((given) => !limits(given)) ?? above[0];
  return bound && limits(bound) ? { actions: [action], resource, constraints: bound.constraints } : line;
}

function reaches(pattern, resource = "") {
  if (pattern === "*") return true;
  const [wide, narrow] = [pattern.split(":"), resource.split(":")];
  const isOpen = wide.at(-1) === "**";
  const fixed = isOpen ? wide.slice(0, -1) : wide;
  const fits = isOpen ? narrow.length > fixed.length : narrow.length === fixed.length;
  return fits && fixed.every((part, index) => (part === "*" ? narrow[index] !== "**" : part === narrow[index]));
}

function ending(agent) {
  if (agent.expiresAt) return prospect("Ends", agent.expiresAt);
  return agent.ttl === null ? "" : `Ends after ${duration(agent.ttl)} without use`;
}
