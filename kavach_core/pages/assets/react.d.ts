/** Types of `react.js`. */

import type { Agent, Approval, KavachClient, KavachError, NewAgent, RotatedAgent, State } from "./client.js";

/** The part of React that is used: pass the whole of it. */
export interface ReactLike {
  useCallback: (...given: any[]) => any;
  useEffect: (...given: any[]) => void;
  useState: (...given: any[]) => any;
  useSyncExternalStore: (...given: any[]) => any;
}

export interface Loaded {
  error: KavachError | null;
  isLoading: boolean;
  refresh(): void;
}

export interface KavachHooks {
  useSession(): State & Pick<KavachClient, "signIn" | "signOut">;
  useAgentIdentity(agentId: string): Loaded & { agent: Agent | null };
  useAgents(): Loaded & {
    agents: Agent[];
    create(agent: NewAgent): Promise<Agent>;
    rotate(id: string, options?: { cutChildren?: boolean }): Promise<RotatedAgent>;
    revoke(id: string): Promise<null>;
  };
  /** Those that wait for an answer. New ones are seen after `refresh`. */
  useApprovals(): Loaded & {
    approvals: Approval[];
    approve(id: string): Promise<Approval>;
    deny(id: string): Promise<Approval>;
  };
}

export declare function createKavachHooks(React: ReactLike, options?: { client?: KavachClient }): KavachHooks;
