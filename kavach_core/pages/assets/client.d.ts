/** Types of `client.js`. */

export type ErrorCode =
  | "cancelled"
  | "aborted"
  | "already_registered"
  | "wrong_origin"
  | "unsupported"
  | "network"
  | "unexpected"
  /** Codes of the server are in capitals: `SESSION_NOT_FRESH`, `PASSKEY_REJECTED`, `LAST_WAY_IN`, ... */
  | (string & {});

export declare class KavachError extends Error {
  readonly code: ErrorCode;
  /** The HTTP status, or 0 where the server was not the one who said no. */
  readonly status: number;
  readonly details: Readonly<Record<string, unknown>>;
}

export interface User {
  id: string;
  email: string | null;
  emailVerified: boolean;
  name: string | null;
  createdAt: string;
}

export interface Session {
  id: string;
  userId: string;
  /** Always empty in a browser: its token is in a cookie that no script can read. */
  token: string;
  createdAt: string;
  expiresAt: string;
  lastUsedAt: string;
  address: string | null;
  userAgent: string | null;
  method: "app" | "passkey" | "password" | "recovery";
  isFresh: boolean;
  user?: User | null;
}

export interface Passkey {
  id: string;
  name: string;
  credentialId: string;
  createdAt: string;
  lastUsedAt: string | null;
  deviceType: "single_device" | "multi_device";
  backedUp: boolean;
  transports: string[];
  disabledAt: string | null;
}

export interface Permission {
  resource: string;
  actions: string[];
  constraints?: Record<string, unknown>;
}

export interface Agent {
  id: string;
  ownerId: string;
  name: string;
  type: "autonomous" | "delegated" | "service";
  /** Empty but in the answers of `createAgent` and `rotateAgent`. */
  token: string;
  status: "active" | "revoked" | "expired";
  permissions: Permission[];
  metadata: Record<string, unknown>;
  /** Seconds of inactivity after which the agent ends. */
  ttl: number | null;
  expiresAt: string | null;
  createdAt: string;
  updatedAt: string;
  lastUsedAt: string | null;
  delegationId: string | null;
}

export interface RotatedAgent extends Agent {
  delegations: string[];
  cutChildren: boolean;
}

export interface NewAgent {
  name: string;
  type?: "autonomous" | "delegated" | "service";
  permissions: (string | Permission)[];
  ttl?: string | number | null;
  expiresAt?: string | null;
  metadata?: Record<string, unknown>;
}

export type ApprovalStatus = "pending" | "approved" | "denied" | "used" | "expired";

/** A call that an agent asks a human about, as the server recorded it. */
export interface Approval {
  id: string;
  agentId: string;
  agentName: string;
  ownerId: string;
  action: string;
  resource: string;
  arguments: Record<string, unknown> | null;
  /** The same as text, all ASCII: JavaScript rounds whole numbers beyond 2^53. Show this one. */
  argumentsJson: string | null;
  /** JSON pointers to the values that are secrets and are hidden. */
  redacted: string[];
  /** Of the arguments as they are shown. */
  argumentsHash: string | null;
  /** What the call may cost at most; null if that was not said. */
  cost: number | null;
  costUnit: string;
  status: ApprovalStatus;
  createdAt: string;
  /** Until when it can be answered; once approved, until when it can be used. */
  expiresAt: string;
  decidedAt: string | null;
  decidedBy: string | null;
  auditId: string | null;
}

export interface Budget {
  id: string;
  /** What it hangs on: one of the three, or none of them for everybody together. */
  agentId: string | null;
  delegationId: string | null;
  ownerId: string | null;
  measure: "calls" | "cost";
  /** What is counted: "calls", or what the app names its cost. */
  unit: string;
  per: "hour" | "day" | "month" | "forever";
  limit: number;
  action: "warn" | "block" | "revoke";
  /** What the app set is not for its humans to change. */
  setBy: "app" | "owner";
  spent: number;
  left: number;
  resetsAt: string | null;
  createdAt: string;
  updatedAt: string;
}

export interface NewBudget {
  /** One of the three. */
  agentId?: string;
  delegationId?: string;
  ownerId?: string;
  limit: number;
  per: Budget["per"];
  measure?: Budget["measure"];
  action?: Budget["action"];
}

/** Null where nothing bounds it. */
export interface Remaining {
  calls: number | null;
  cost: number | null;
  costUnit: string;
  budgets: Budget[];
}

export interface State {
  readonly status: "loading" | "anonymous" | "authenticated";
  readonly session: Session | null;
  readonly user: User | null;
  readonly error: KavachError | null;
}

export interface Stoppable {
  signal?: AbortSignal;
}

export interface KavachClientOptions {
  /** Where the API is. By default where the module was loaded from. */
  base?: string | URL;
  fetch?: typeof globalThis.fetch;
  headers?: Record<string, string> | (() => Record<string, string> | Promise<Record<string, string>>);
}

/** Every verb rejects with a `KavachError`. */
export interface KavachClient {
  readonly base: string;
  /** Makes an account with a passkey, and signs in. */
  register(options?: { email?: string; displayName?: string } & Stoppable): Promise<Session>;
  signIn(options?: Stoppable): Promise<Session>;
  /** Offers passkeys in the input with `autocomplete="username webauthn"`, until one is chosen. */
  autofill(options?: { renewMs?: number } & Stoppable): Promise<Session>;
  /** Needs a fresh session, or one of a recovery: that is replaced by a full sign-in. */
  addPasskey(options?: Stoppable): Promise<Passkey>;
  /** Makes the session fresh again, as sensitive changes ask for. */
  verify(options?: Stoppable): Promise<Session>;
  getSession(options?: { refresh?: boolean }): Promise<Session | null>;
  signOut(): Promise<void>;
  listPasskeys(): Promise<Passkey[]>;
  renamePasskey(id: string, name: string): Promise<Passkey>;
  deletePasskey(id: string): Promise<null>;
  listSessions(): Promise<Session[]>;
  revokeSession(id: string): Promise<null>;
  revokeOtherSessions(): Promise<null>;
  /** What the app lets this human give to agents. */
  grantable(): Promise<Permission[]>;
  listAgents(query?: { status?: string; type?: string; limit?: number; offset?: number }): Promise<Agent[]>;
  getAgent(id: string): Promise<Agent>;
  createAgent(agent: NewAgent): Promise<Agent>;
  updateAgent(id: string, changes: Partial<NewAgent>): Promise<Agent>;
  rotateAgent(id: string, options?: { cutChildren?: boolean }): Promise<RotatedAgent>;
  /** What an agent may do now: its own permissions and those that other agents gave it. */
  effectivePermissions(id: string): Promise<Permission[]>;
  revokeAgent(id: string): Promise<null>;
  /** Newest first. */
  listApprovals(query?: {
    status?: ApprovalStatus;
    agentId?: string;
    limit?: number;
    offset?: number;
  }): Promise<Approval[]>;
  /** As it stands; with `wait`, once it is answered or after so many seconds, at most 30. */
  getApproval(id: string, options?: { wait?: number } & Stoppable): Promise<Approval>;
  /** Lets the one call that was asked about go ahead, once. `FINAL_STATE` for what was answered, expired or ended. */
  approve(id: string): Promise<Approval>;
  deny(id: string): Promise<Approval>;
  /** Of one agent or delegation; or one's own and those of all one's agents. Oldest first. */
  listBudgets(query?: { agentId?: string; delegationId?: string; limit?: number; offset?: number }): Promise<Budget[]>;
  createBudget(budget: NewBudget): Promise<Budget>;
  updateBudget(id: string, changes: Partial<Pick<Budget, "limit" | "action">>): Promise<Budget>;
  deleteBudget(id: string): Promise<null>;
  /** What an agent may still spend, and the budgets that say so. */
  remaining(agentId: string): Promise<Remaining>;
  readonly recovery: {
    get(): Promise<{ codesLeft: number; emailLink: boolean }>;
    /** New codes; older ones end. They are shown here and never again. */
    createCodes(): Promise<string[]>;
    sendLink(email: string): Promise<unknown>;
    /** Opens a session that can only `addPasskey`. */
    useCode(code: string): Promise<Session>;
    useLink(token: string): Promise<Session>;
  };
  /** Where the app has switched on e-mail and password. */
  readonly password: {
    /** Null where the address has to be verified first. */
    signUp(given: { email: string; password: string; name?: string }): Promise<Session | null>;
    signIn(given: { email: string; password: string }): Promise<Session | null>;
    /** With what the link of the mail carried, and the password once more. */
    confirmSignUp(given: { token: string; password: string }): Promise<Session | null>;
    /** Sets or changes one's own password, and ends all other sessions. */
    set(password: string): Promise<null>;
  };
  /** Proving one's own address, where the app sends mail. */
  readonly email: {
    sendLink(): Promise<unknown>;
    confirm(token: string): Promise<User>;
  };
  getSnapshot(): State;
  /** Calls the listener after every change of the state; the result ends that. */
  subscribe(listener: () => void): () => void;
}

export declare function createKavachClient(options?: KavachClientOptions): KavachClient;
export declare function isSupported(): boolean;
/** The client of the mount the module was loaded from. */
export declare const kavach: KavachClient;
