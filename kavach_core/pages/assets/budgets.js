/** The budgets of the account page: what an agent has left, and the dialog to bound it. */

import { kavach } from "./client.js";
import { busy, byId, dotted, forgetErrors, isFilled, part, prospect, row, say } from "./dom.js";

const PER = { hour: "an hour", day: "a day", month: "a month", forever: "in all" };
const THEN = {
  block: "then calls are refused",
  warn: "then calls go on, and the app is told",
};

const number = (value) => value.toLocaleString("en");

/** "1,000 cents", "1 call". */
const amount = (value, unit) => `${number(value)} ${unit === "calls" && value === 1 ? "call" : unit}`;

/** Tells on the row of an agent what it has left, if a budget bounds it. */
export async function showLeft(agent, place) {
  const { calls, cost, costUnit, budgets } = await kavach.remaining(agent.id);
  const left = [];
  if (calls !== null) left.push(amount(calls, "calls"));
  if (cost !== null) left.push(amount(cost, costUnit));
  place.hidden = budgets.length === 0 || left.length === 0;
  place.textContent = `${left.join(" and ")} left`;
  place.dataset.kind = calls === 0 || cost === 0 ? "warning" : "info";
}

/** Wires the dialog. Gives what opens it for an agent; that ends when it is closed. */
export function budgetDialog() {
  const opened = byId("budget-dialog");
  const form = byId("budget-form");
  let agent = null;
  /** The budget that the form is about; null for a new one. */
  let changed = null;

  async function load() {
    const [own, { budgets, costUnit }] = await Promise.all([
      kavach.listBudgets({ agentId: agent.id }),
      kavach.remaining(agent.id),
    ]);
    const above = budgets.filter((budget) => budget.agentId !== agent.id);
    byId("budget-rows").replaceChildren(...[...own, ...above].map(budgetRow));
    byId("budget-measure").options[1].textContent = costUnit;
  }

  function budgetRow(budget) {
    const isMine = budget.agentId === agent.id && budget.setBy === "owner";
    const limit = `${amount(budget.limit, budget.unit)} ${PER[budget.per]}`;
    const made = row("budget-row", { limit, state: isMine ? "" : whose(budget) }, budget.id);
    const again = budget.resetsAt && prospect("begins anew", budget.resetsAt);
    dotted(part(made, "meta"), `${number(budget.left)} left`, again, then(budget));
    if (!isMine) part(made, "actions").remove();
    for (const button of made.querySelectorAll("button")) {
      button.setAttribute("aria-label", `${button.textContent} ${limit}`);
      button.addEventListener("click", () => void busy(button, () => verbs[button.dataset.do](budget), error()));
    }
    return made;
  }

  function whose(budget) {
    if (budget.agentId === agent.id) return "set by the app";
    if (budget.agentId !== null) return "of an agent above";
    if (budget.delegationId !== null) return "of a delegation";
    return budget.ownerId === null ? "of everybody together" : "of all your agents together";
  }

  /** What `revoke` ends is what the budget hangs on, which need not be this agent. */
  function then(budget) {
    if (budget.action !== "revoke") return THEN[budget.action];
    if (budget.agentId !== null) return `then ${budget.agentId === agent.id ? "the" : "that"} agent is revoked`;
    if (budget.delegationId !== null) return "then the delegation is revoked";
    return budget.ownerId === null ? "then everything is suspended" : "then the owner is suspended";
  }

  const verbs = {
    change(budget) {
      fillIn(budget);
      byId("budget-limit").focus();
    },
    async remove(budget) {
      await kavach.deleteBudget(budget.id);
      if (changed?.id === budget.id) fillIn(null);
      await load();
      said("The budget is removed.");
    },
  };

  /** What is counted, and how long, stay as they are: what was spent would mean something else. */
  function fillIn(budget) {
    changed = budget;
    forgetErrors(form);
    form.reset();
    if (budget) {
      byId("budget-limit").value = String(budget.limit);
      byId("budget-measure").value = budget.measure;
      byId("budget-per").value = budget.per;
      byId("budget-then").value = budget.action;
    }
    byId("budget-measure").disabled = byId("budget-per").disabled = budget !== null;
    byId("budget-legend").textContent = budget ? "Change the budget" : "New budget";
    byId("budget-save").textContent = budget ? "Save" : "Add budget";
    byId("budget-keep").hidden = budget === null;
    said("");
    say("", "error", error());
  }

  async function save() {
    const limit = Number(byId("budget-limit").value);
    const action = byId("budget-then").value;
    if (changed) await kavach.updateBudget(changed.id, { limit, action });
    else {
      const [measure, per] = [byId("budget-measure").value, byId("budget-per").value];
      await kavach.createBudget({ agentId: agent.id, limit, measure, per, action });
    }
    const text = changed ? "The budget is changed." : "The budget is set.";
    fillIn(null);
    await load();
    said(text);
    byId("budget-limit").focus();
  }

  const error = () => part(opened, "error");
  const said = (text) => say(text, "success", part(opened, "said"));

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (isFilled(form)) void busy(event.submitter ?? form, save, error());
  });
  byId("budget-keep").addEventListener("click", () => {
    fillIn(null);
    byId("budget-limit").focus();
  });

  return async (of) => {
    agent = of;
    part(opened, "title").textContent = `Budgets of ${agent.name}`;
    fillIn(null);
    await load();
    opened.showModal();
    await new Promise((resolve) => opened.addEventListener("close", resolve, { once: true }));
  };
}
