/**
 * Hooks for React 18 and later. React is handed in, so this module imports nothing that a bundler would have to find:
 *
 *     const { useSession, useAgents, useApprovals } = createKavachHooks(React);
 */

import { kavach } from "./client.js";

const WAITING = Object.freeze({ status: "loading", session: null, user: null, error: null });

export function createKavachHooks(React, { client = kavach } = {}) {
  const { useCallback, useEffect, useState, useSyncExternalStore } = React;

  /** `{ status, session, user, error, signIn, signOut }`; the status is "loading" on the server and at first. */
  function useSession() {
    const state = useSyncExternalStore(client.subscribe, client.getSnapshot, () => WAITING);
    useEffect(() => {
      // What goes wrong is in the store's `error`.
      client.getSession().catch(() => {});
    }, []);
    return { ...state, signIn: client.signIn, signOut: client.signOut };
  }

  /** What `load` gives, loaded anew whenever it or the signed-in human changes. */
  function useLoaded(load) {
    const { status, session } = useSession();
    const [state, setState] = useState({ of: null, value: null, error: null });
    const [turn, setTurn] = useState(0);
    const who = status === "authenticated" ? session.userId : null;
    useEffect(() => {
      if (who === null) return undefined;
      let wanted = true;
      const settle = (next) => wanted && setState({ of: who, value: null, error: null, ...next });
      load().then(
        (value) => settle({ value }),
        (error) => settle({ error }),
      );
      return () => {
        wanted = false;
      };
    }, [load, who, turn]);
    const refresh = useCallback(() => setTurn((last) => last + 1), []);
    const current = state.of === who ? state : { value: null, error: null };
    return { ...current, isLoading: status === "loading" || (who !== null && state.of !== who), refresh };
  }

  /** One agent of the signed-in human: `{ agent, error, isLoading, refresh }`. */
  function useAgentIdentity(agentId) {
    const load = useCallback(() => client.getAgent(agentId), [agentId]);
    const { value, ...rest } = useLoaded(load);
    return { agent: value !== null && value.id === agentId ? value : null, ...rest };
  }

  /** The human's agents, and the verbs that change them: `{ agents, create, rotate, revoke, ... }`. */
  function useAgents() {
    const load = useCallback(() => client.listAgents({ status: "active" }), []);
    const { value, refresh, ...rest } = useLoaded(load);
    const change = changing(refresh);
    return {
      agents: value ?? [],
      ...rest,
      refresh,
      create: useCallback(change(client.createAgent), [refresh]),
      rotate: useCallback(change(client.rotateAgent), [refresh]),
      revoke: useCallback(change(client.revokeAgent), [refresh]),
    };
  }

  /** What the human's agents wait for, and the verbs that answer: `{ approvals, approve, deny, refresh, ... }`. */
  function useApprovals() {
    const load = useCallback(() => client.listApprovals({ status: "pending" }), []);
    const { value, refresh, ...rest } = useLoaded(load);
    const change = changing(refresh);
    return {
      approvals: value ?? [],
      ...rest,
      refresh,
      approve: useCallback(change(client.approve), [refresh]),
      deny: useCallback(change(client.deny), [refresh]),
    };
  }

  return { useSession, useAgentIdentity, useAgents, useApprovals };
}

/** A verb after which what was loaded is loaded anew; after a failure too, since it may tell that something changed. */
const changing = (refresh) => (verb) => async (...given) => {
  try {
    return await verb(...given);
  } finally {
    refresh();
  }
};
