-- Times are timestamptz, ids are uuid (version 7). '9999-12-31' as an end means "has none".

create table kavach_owners (
    project_id text not null,
    id text not null,
    created_at timestamptz not null,
    suspended_at timestamptz,
    primary key (project_id, id)
);

-- A set of permissions, stored once under the SHA-256 of its text.
create table kavach_permission_sets (
    project_id text not null,
    digest bytea not null,
    body text not null,
    primary key (project_id, digest)
);

-- owner_id is an opaque string and deliberately no foreign key: one UPDATE moves agents when user ids change shape.
create table kavach_agents (
    project_id text not null,
    id uuid not null,
    owner_id text not null,
    name text not null,
    type text not null,
    permissions bytea not null,
    metadata text not null,
    founding_id uuid,
    ttl bigint,
    idle_at timestamptz not null,
    expires_at timestamptz not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    rotated_at timestamptz not null,
    last_used_at timestamptz,
    revoked_at timestamptz,
    primary key (project_id, id)
) with (fillfactor = 80);
create index kavach_agents_owner on kavach_agents (project_id, owner_id, id);

-- Every token an agent ever had; the current one has no retired_at. Token hashes are unique across projects.
create table kavach_agent_tokens (
    token_hash bytea not null primary key,
    project_id text not null,
    agent_id uuid not null,
    retired_at timestamptz
);
create index kavach_agent_tokens_agent on kavach_agent_tokens (agent_id, project_id);

-- Indexes begin with the column that tells rows apart: a planner without statistics takes project_id for selective.
-- An edge from giver to receiver. source_id is the delegation the giver handed on, null for the giver's own permissions.
create table kavach_delegations (
    project_id text not null,
    id uuid not null,
    from_agent uuid not null,
    to_agent uuid not null,
    source_id uuid,
    depth smallint not null,
    max_depth smallint not null,
    permissions bytea not null,
    purpose text,
    expires_at timestamptz not null,
    created_at timestamptz not null,
    revoked_at timestamptz,
    primary key (project_id, id)
);
create index kavach_delegations_to on kavach_delegations (to_agent, project_id, expires_at) where revoked_at is null;
create index kavach_delegations_from on kavach_delegations (from_agent, project_id, id);
create index kavach_delegations_received on kavach_delegations (to_agent, project_id, id);

-- Append-only. (writer, sequence) is gap-free within a writer.
create table kavach_audit (
    project_id text not null,
    id uuid not null,
    writer uuid not null,
    sequence bigint not null,
    agent_id uuid not null,
    owner_id text not null,
    path text not null,
    action text not null,
    resource text not null,
    arguments text,
    arguments_hash bytea,
    result text not null,
    code text not null,
    grant_used text,
    permissions bytea not null,
    dry_run boolean not null,
    calls bigint not null,
    duration bigint not null,
    cost bigint,
    address text,
    user_agent text,
    request_id text,
    primary key (project_id, id)
);
create index kavach_audit_agent on kavach_audit (project_id, agent_id, id);

-- One row a counter: counts of the last sixty minutes as "minute:count" pairs, or of one window.
create table kavach_counters (
    project_id text not null,
    key bytea not null,
    counts text not null,
    touched_at timestamptz not null,
    primary key (project_id, key)
) with (fillfactor = 50);
create index kavach_counters_touched on kavach_counters (project_id, touched_at);

create table kavach_sessions (
    project_id text not null,
    id uuid not null,
    token_hash bytea not null unique,
    user_id text not null,
    idle bigint not null,
    expires_at timestamptz not null,
    created_at timestamptz not null,
    last_used_at timestamptz not null,
    revoked_at timestamptz,
    address text,
    user_agent text,
    primary key (project_id, id)
);
create index kavach_sessions_user on kavach_sessions (project_id, user_id, id);

create table kavach_api_keys (
    project_id text not null,
    id uuid not null,
    token_hash bytea not null unique,
    name text not null,
    hint text not null,
    test boolean not null,
    scopes text not null,
    grantable bytea not null,
    expires_at timestamptz not null,
    created_at timestamptz not null,
    rotated_at timestamptz not null,
    revoked_at timestamptz,
    primary key (project_id, id)
);

-- What happened, written in the transaction of the change itself.
create table kavach_events (
    project_id text not null,
    id uuid not null,
    type text not null,
    subject text not null,
    owner_id text,
    data text not null,
    primary key (project_id, id)
);
