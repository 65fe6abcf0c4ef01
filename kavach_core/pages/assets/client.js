/**
 * The browser's side of Kavach: passkeys, the session, agents and what they ask for. One module, no dependency, no build step.
 *
 *     import { kavach } from "/api/kavach/client.js";
 *     await kavach.signIn();
 *
 * Where the API is, the module knows from its own address. What can go wrong is told by `KavachError.code`.
 */

// A page may load this module under two addresses, with its version and without, or have it in a bundle besides. What
// there must be one of in a page is kept here: how errors are told from others, whose turn it is, who is signed in.
const page = (globalThis[Symbol.for("kavach.page")] ??= { clients: {} });

const SESSION_ENDED = new Set(["UNAUTHENTICATED", "UNKNOWN_CREDENTIAL", "SESSION_REVOKED", "SESSION_EXPIRED"]);
const LOADING = Object.freeze({ status: "loading", session: null, user: null, error: null });
const SAYS = {
  cancelled: "Nothing was done: it was cancelled, took too long, or there is no passkey for this app here.",
  aborted: "Another request took the place of this one.",
  already_registered: "This device already has a passkey for this account.",
  unsupported: "This browser cannot use passkeys here.",
  network: "The server cannot be reached. Check the connection and try again.",
  unexpected: "The passkey could not be used.",
};

/** What every verb of a client throws. `code` is one of the keys of `SAYS`, `wrong_origin`, or the server's own. */
export const KavachError = (page.KavachError ??= class KavachError extends Error {
  constructor(code, message, { status = 0, details = {}, cause } = {}) {
    super(message ?? SAYS[code] ?? code, { cause });
    this.name = "KavachError";
    this.code = code;
    this.status = status;
    this.details = details;
  }
});

/** Makes a client. `fetch` and `headers` (an object, or a function that gives one) are for tests and unusual apps. */
export function createKavachClient({ base = defaultBase(), fetch: send, headers = {} } = {}) {
  const url = String(base).replace(/\/+$/, "");
  const store = createStore();
  const tabs = createTabs(`kavach:${url}`, (news) => (news === "signed-out" ? store.leave() : load(true)));
  let loading = null;

  async function request(method, path, body, signal) {
    const more = typeof headers === "function" ? await headers() : headers;
    const init = {
      method,
      signal,
      cache: "no-store",
      credentials: "same-origin",
      redirect: "error",
      headers: { accept: "application/json", ...more },
    };
    if (body !== undefined) {
      init.headers["content-type"] = "application/json";
      init.body = JSON.stringify(body);
    }
    const age = store.age();
    let response;
    try {
      response = await (send ?? globalThis.fetch)(url + path, init);
    } catch (cause) {
      throw new KavachError(signal?.aborted ? "aborted" : "network", undefined, { cause });
    }
    if (response.ok) return response.status === 204 ? null : readJson(response);
    const error = await failure(response);
    if (error.status === 401 && SESSION_ENDED.has(error.code)) store.leave(age);
    throw error;
  }

  const get = (path) => request("GET", path);
  const post = (path, body) => request("POST", path, body);
  const at = (path, id, rest = "") => `${path}/${encodeURIComponent(id)}${rest}`;

  /** The session of this browser, or null. Asked once; `refresh` asks again, and calls at one time share a request. */
  function getSession({ refresh = false } = {}) {
    const { status, session } = store.getSnapshot();
    return status === "loading" || refresh ? load(refresh) : Promise.resolve(session);
  }

  function load(anew) {
    if (loading === null || anew) {
      const mine = ask(store.newAge()).finally(() => {
        if (loading === mine) loading = null;
      });
      loading = mine;
    }
    return loading;
  }

  async function ask(age) {
    try {
      const session = await get("/session");
      if (age === store.age()) store.enter(session, session.user ?? null);
    } catch (error) {
      if (error.status === 401) store.leave(age);
      else if (store.fail(error, age)) throw error;
    }
    const overtaken = store.getSnapshot().status === "loading" && loading !== null;
    return overtaken ? loading : store.getSnapshot().session;
  }

  /** What every way of signing in ends with. */
  function signedIn({ user, session }) {
    store.enter(session, user ?? session.user ?? null);
    tabs.tell("signed-in");
    return session;
  }

  async function register({ email, displayName, signal } = {}) {
    return ceremony(signal, async (stop) => {
      const options = await request("POST", "/passkey/register/begin", filled({ email, displayName }), stop);
      const credential = await create(options, stop);
      const answer = await request("POST", "/passkey/register/finish", credential, stop);
      signalAccepted(options, credential.id);
      return signedIn(answer);
    });
  }

  async function signIn({ signal } = {}) {
    return ceremony(signal, async (stop) => {
      const options = await request("POST", "/passkey/sign-in/begin", {}, stop);
      return finishSignIn(options, await assert({ publicKey: requestOptions(options), signal: stop }));
    });
  }

  async function finishSignIn(options, credential) {
    try {
      return signedIn(await post("/passkey/sign-in/finish", credential));
    } catch (error) {
      if (error.code === "PASSKEY_UNKNOWN") {
        signal("signalUnknownCredential", { rpId: options.rpId, credentialId: credential.id });
      }
      throw error;
    }
  }

  /**
   * Offers passkeys in the input with `autocomplete="username webauthn"`, until one is chosen. Steps aside for every
   * other request and comes back when that was cancelled; begins anew before a challenge gets too old.
   */
  async function autofill({ signal: outer, renewMs = 240_000 } = {}) {
    if (!(await canAutofill())) throw new KavachError("unsupported");
    const turn = gate.newAutofill();
    for (;;) {
      const renewal = new AbortController();
      const timer = setTimeout(() => renewal.abort(), renewMs);
      let stopped = null;
      try {
        return await gate.autofill(turn, [outer, renewal.signal], async (stop) => {
          stopped = stop;
          const options = await request("POST", "/passkey/sign-in/begin", {}, stop);
          const asked = { publicKey: requestOptions(options), mediation: "conditional", signal: stop };
          return finishSignIn(options, await assert(asked));
        });
      } catch (error) {
        if (!stopped?.aborted || outer?.aborted || !gate.isStill(turn)) throw error;
      } finally {
        clearTimeout(timer);
      }
    }
  }

  /** Adds a passkey to the account of this session: a fresh one (see `verify`), or a recovery, which then signs in. */
  async function addPasskey({ signal } = {}) {
    return ceremony(signal, async (stop) => {
      const options = await request("POST", "/passkeys/begin", {}, stop);
      const credential = await create(options, stop);
      const { user, session, ...passkey } = await request("POST", "/passkeys/finish", credential, stop);
      const known = (options.excludeCredentials ?? []).map((one) => one.id);
      signalAccepted(options, ...known, credential.id);
      if (session) signedIn({ user, session });
      return passkey;
    });
  }

  /** Proves once more who is there, for the changes that answer SESSION_NOT_FRESH. */
  async function verify({ signal } = {}) {
    return ceremony(signal, async (stop) => {
      const options = await request("POST", "/passkey/verify/begin", {}, stop);
      const credential = await assert({ publicKey: requestOptions(options), signal: stop });
      const session = await request("POST", "/passkey/verify/finish", credential, stop);
      store.enter(session, session.user ?? store.getSnapshot().user);
      return session;
    });
  }

  async function signOut() {
    try {
      await post("/sign-out");
    } catch (error) {
      if (error.status !== 401) throw error;
    }
    store.leave();
    tabs.tell("signed-out");
  }

  /** A recovery can only add a passkey: nobody is signed in by it. */
  function recovering({ session }) {
    store.leave();
    return session;
  }

  async function withPassword(path, body) {
    const said = await post(path, filled(body));
    return said.session ? signedIn(said) : null;
  }

  return {
    base: url,
    register,
    signIn,
    autofill,
    addPasskey,
    verify,
    getSession,
    signOut,
    listPasskeys: () => get("/passkeys"),
    renamePasskey: (id, name) => request("PATCH", at("/passkeys", id), { name }),
    deletePasskey: (id) => request("DELETE", at("/passkeys", id)),
    listSessions: () => get("/sessions"),
    revokeSession: (id) => request("DELETE", at("/sessions", id)),
    revokeOtherSessions: () => post("/sessions/revoke-others"),
    grantable: () => get("/grantable"),
    listAgents: (query = {}) => get(`/agents${queryOf(query)}`),
    getAgent: (id) => get(at("/agents", id)),
    createAgent: (agent) => post("/agents", agent),
    updateAgent: (id, changes) => request("PATCH", at("/agents", id), changes),
    rotateAgent: (id, { cutChildren = false } = {}) => post(at("/agents", id, "/rotate"), { cutChildren }),
    /** What an agent may do now: its own permissions and those that other agents gave it. */
    effectivePermissions: (id) => get(at("/delegations", id, "/permissions")),
    revokeAgent: (id) => request("DELETE", at("/agents", id)),
    listApprovals: (query = {}) => get(`/approvals${queryOf(query)}`),
    getApproval: (id, { wait, signal } = {}) => request("GET", at("/approvals", id, queryOf({ wait })), undefined, signal),
    approve: (id) => post(at("/approvals", id, "/approve")),
    deny: (id) => post(at("/approvals", id, "/deny")),
    listBudgets: (query = {}) => get(`/budgets${queryOf(query)}`),
    createBudget: (budget) => post("/budgets", budget),
    updateBudget: (id, changes) => request("PATCH", at("/budgets", id), changes),
    deleteBudget: (id) => request("DELETE", at("/budgets", id)),
    /** What an agent may still spend, and the budgets that say so. */
    remaining: (agentId) => get(at("/agents", agentId, "/remaining")),
    recovery: {
      get: () => get("/recovery"),
      createCodes: async () => (await post("/recovery/codes", {})).codes,
      sendLink: (email) => post("/recovery/link", { email }),
      useCode: async (code) => recovering(await post("/recovery/use", { code })),
      useLink: async (token) => recovering(await post("/recovery/link/use", { token })),
    },
    password: {
      signUp: ({ email, password, name }) => withPassword("/sign-up/email", { email, password, name }),
      signIn: ({ email, password }) => withPassword("/sign-in/email", { email, password }),
      confirmSignUp: ({ token, password }) => withPassword("/sign-up/confirm", { token, password }),
      set: (password) => post("/password", { password }),
    },
    email: {
      sendLink: () => post("/verify-email/send", {}),
      confirm: (token) => post("/verify-email", { token }),
    },
    getSnapshot: store.getSnapshot,
    subscribe(listener) {
      tabs.listen();
      return store.subscribe(listener);
    },
  };
}

/* What is known of the session: one frozen snapshot, replaced whole. */

function createStore() {
  const listeners = new Set();
  let state = LOADING;
  let age = 0;

  function become(next) {
    age += 1;
    state = Object.freeze(next);
    for (const listener of [...listeners]) listener();
  }

  return {
    getSnapshot: () => state,
    /** Grows with every change, so that an answer which was overtaken can be told from a new one. */
    age: () => age,
    newAge: () => (age += 1),
    enter: (session, user) => become({ status: "authenticated", session, user, error: null }),
    leave(asked = age) {
      if (asked !== age || (state.status === "anonymous" && state.error === null)) return;
      become({ status: "anonymous", session: null, user: null, error: null });
    },
    fail(error, asked) {
      if (asked !== age) return false;
      become({ ...state, status: state.status === "loading" ? "anonymous" : state.status, error });
      return true;
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/* Other tabs hear of signing in and out. */

function createTabs(name, hear) {
  let channel = null;

  function open() {
    if (channel === null && typeof BroadcastChannel === "function") {
      channel = new BroadcastChannel(name);
      channel.addEventListener("message", (event) => Promise.resolve(hear(event.data)).catch(() => {}));
      channel.unref?.();
    }
    return channel;
  }

  return { listen: () => void open(), tell: (news) => open()?.postMessage(news) };
}

/* One WebAuthn request at a time, whichever client of the page asks: browsers refuse, or worse, mix up two. */

const gate = (page.gate ??= (() => {
  let running = null;
  let turns = 0;
  let successes = 0;

  async function run(kind, signals, act) {
    const controller = new AbortController();
    const stop = () => controller.abort();
    const given = signals.filter(Boolean);
    for (const signal of given) {
      if (signal.aborted) stop();
      signal.addEventListener("abort", stop, { once: true });
    }
    let end;
    running = { kind, stop, ended: new Promise((resolve) => (end = resolve)) };
    try {
      if (controller.signal.aborted) throw new KavachError("aborted");
      const result = await act(controller.signal);
      successes += 1;
      return result;
    } catch (error) {
      throw asKavachError(error, controller.signal);
    } finally {
      for (const signal of given) signal.removeEventListener("abort", stop);
      running = null;
      end();
    }
  }

  return {
    /** Takes the place of whatever runs, after that has really ended: iOS refuses a request before. */
    async modal(signal, act) {
      while (running !== null) {
        running.stop();
        await running.ended;
      }
      return run("modal", [signal], act);
    },
    /** Waits for a modal to end. The newest of several autofills stays. */
    async autofill(turn, signals, act) {
      while (running !== null) {
        if (running.kind === "autofill") running.stop();
        await running.ended;
      }
      if (!this.isStill(turn)) throw new KavachError("aborted");
      return run("autofill", signals, act);
    },
    newAutofill: () => ({ number: (turns += 1), successes }),
    /** Whether an autofill is still wanted: none is newer, and nothing has succeeded in its place. */
    isStill: (turn) => turn.number === turns && turn.successes === successes,
  };
})());

function ceremony(signal, act) {
  if (!isSupported()) return Promise.reject(new KavachError("unsupported", whyUnsupported()));
  return gate.modal(signal, act);
}

export function isSupported() {
  return typeof globalThis.PublicKeyCredential === "function" && Boolean(globalThis.navigator?.credentials);
}

async function canAutofill() {
  if (!isSupported()) return false;
  const known = globalThis.PublicKeyCredential.isConditionalMediationAvailable;
  return typeof known === "function" && Boolean(await known.call(globalThis.PublicKeyCredential));
}

function whyUnsupported() {
  return globalThis.isSecureContext === false ? "Passkeys need https, or localhost while developing." : undefined;
}

function asKavachError(error, signal) {
  const isAnswer = error instanceof KavachError && error.code !== "network";
  if (signal.aborted && !isAnswer) return new KavachError("aborted", undefined, { cause: error });
  if (error instanceof KavachError) return error;
  switch (error?.name) {
    case "NotAllowedError":
      return new KavachError("cancelled", undefined, { cause: error });
    case "AbortError":
      return new KavachError("aborted", undefined, { cause: error });
    case "InvalidStateError":
      return new KavachError("already_registered", undefined, { cause: error });
    case "SecurityError":
      return new KavachError("wrong_origin", whyWrongOrigin(), { cause: error });
    case "NotSupportedError":
      return new KavachError("unsupported", undefined, { cause: error });
    default:
      return new KavachError("unexpected", undefined, { cause: error });
  }
}

function whyWrongOrigin() {
  const host = globalThis.location?.hostname ?? "";
  return /^[\d.]+$|^\[/.test(host)
    ? `Passkeys do not work on an address such as ${host}: open this page as http://localhost instead.`
    : `The passkeys of this app do not belong to ${host}.`;
}

/* WebAuthn's JSON, made by hand: credential.toJSON() throws where a password manager put its own in place. */

async function create(options, signal) {
  const credential = await navigator.credentials.create({ publicKey: creationOptions(options), signal });
  const { response } = credential;
  return credentialJson(credential, {
    clientDataJSON: encode(response.clientDataJSON),
    attestationObject: encode(response.attestationObject),
    transports: attempt(() => response.getTransports()) ?? [],
  });
}

async function assert(asked) {
  const credential = await navigator.credentials.get(asked);
  const { response } = credential;
  return credentialJson(credential, {
    clientDataJSON: encode(response.clientDataJSON),
    authenticatorData: encode(response.authenticatorData),
    signature: encode(response.signature),
    userHandle: response.userHandle ? encode(response.userHandle) : undefined,
  });
}

function credentialJson(credential, response) {
  // Nothing else of the extensions leaves the browser: the results of `prf` are keys.
  const { credProps } = attempt(() => credential.getClientExtensionResults()) ?? {};
  return {
    id: credential.id,
    rawId: encode(credential.rawId),
    type: credential.type,
    authenticatorAttachment: attempt(() => credential.authenticatorAttachment) ?? undefined,
    clientExtensionResults: credProps ? { credProps } : {},
    response,
  };
}

function creationOptions(json) {
  return (
    attempt(() => PublicKeyCredential.parseCreationOptionsFromJSON(json)) ?? {
      ...json,
      challenge: decode(json.challenge),
      user: { ...json.user, id: decode(json.user.id) },
      excludeCredentials: (json.excludeCredentials ?? []).map(descriptor),
    }
  );
}

function requestOptions(json) {
  return (
    attempt(() => PublicKeyCredential.parseRequestOptionsFromJSON(json)) ?? {
      ...json,
      challenge: decode(json.challenge),
      allowCredentials: (json.allowCredentials ?? []).map(descriptor),
    }
  );
}

const descriptor = (json) => ({ ...json, id: decode(json.id) });

/** Tells the authenticator which passkeys of this user count, so that it offers no dead one. */
function signalAccepted(options, ...ids) {
  signal("signalAllAcceptedCredentials", {
    rpId: options.rp.id,
    userId: options.user.id,
    allAcceptedCredentialIds: ids,
  });
}

function signal(verb, about) {
  // A courtesy: few browsers know it, and nothing depends on it.
  attempt(() => PublicKeyCredential[verb](about).catch(() => {}));
}

function attempt(act) {
  try {
    return act();
  } catch {
    return undefined;
  }
}

function encode(buffer) {
  const binary = Array.from(new Uint8Array(buffer), (byte) => String.fromCharCode(byte)).join("");
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

function decode(text) {
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

/* Small change. */

function defaultBase() {
  return new URL(".", import.meta.url).href;
}

async function readJson(response) {
  try {
    return await response.json();
  } catch (cause) {
    throw new KavachError("network", "The server's answer cannot be read.", { status: response.status, cause });
  }
}

async function failure(response) {
  const said = await response.json().catch(() => null);
  const { code = "network", message, details = {} } = said?.error ?? {};
  const retryAfter = Number(response.headers.get("retry-after")) || undefined;
  return new KavachError(code, message, { status: response.status, details: { ...details, retryAfter } });
}

function filled(values) {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined && value !== ""));
}

function queryOf(values) {
  const query = new URLSearchParams(filled(values)).toString();
  return query && `?${query}`;
}

/** The client of the mount this module was loaded from. Nothing is asked before it is used. */
export const kavach = (page.clients[defaultBase()] ??= createKavachClient());
