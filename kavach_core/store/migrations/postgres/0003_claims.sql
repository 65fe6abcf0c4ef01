-- What is said about a project as a whole. There is a row once something is.
create table kavach_projects (
    project_id text not null primary key,
    suspended_at timestamptz,
    budgets integer not null default 0
);

-- What an owner may do; null where nothing is said, and then their agents are held to their own permissions alone.
alter table kavach_owners add column permissions bytea;

-- How many budgets hang on a thing. Most have none, and a decision does not ask for them.
alter table kavach_owners add column budgets integer not null default 0;
alter table kavach_agents add column budgets integer not null default 0;
alter table kavach_delegations add column budgets integer not null default 0;

-- holder is what it hangs on: a letter for the kind, then the id. spent belongs to the window that begins at window_at;
-- leases are "end:amount" pairs of reservations that fall back when nobody settles them.
create table kavach_budgets (
    project_id text not null,
    holder bytea not null,
    id uuid not null,
    measure text not null,
    per text not null,
    most bigint not null,
    action text not null,
    set_by text not null,
    window_at timestamptz not null,
    spent bigint not null,
    leases text not null,
    told_at timestamptz,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    primary key (project_id, holder, id)
) with (fillfactor = 50);
create unique index kavach_budgets_id on kavach_budgets (id, project_id);

-- What an allowed call reserved and may still be corrected, with the budgets that were charged.
create table kavach_reservations (
    project_id text not null,
    audit_id uuid not null,
    amount bigint not null,
    charges text not null,
    lease_ends_at timestamptz not null,
    primary key (project_id, audit_id)
);

-- binding is a hash of agent, action, resource and arguments; what is not closed is there once for each.
create table kavach_approvals (
    project_id text not null,
    id uuid not null,
    binding bytea not null,
    agent_id uuid not null,
    action text not null,
    resource text not null,
    arguments text,
    arguments_hash bytea,
    cost bigint,
    status text not null,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    decided_at timestamptz,
    decided_by text,
    closed_at timestamptz,
    audit_id uuid,
    primary key (project_id, id)
);
create unique index kavach_approvals_open on kavach_approvals (binding, project_id) where closed_at is null;
create index kavach_approvals_agent on kavach_approvals (agent_id, project_id, id);
create index kavach_approvals_pending on kavach_approvals (agent_id, project_id)
    where status = 'pending' and closed_at is null;

-- The approval a decision used or asked for, and the decision whose cost a row corrects.
alter table kavach_audit add column approval_id uuid;
alter table kavach_audit add column settles uuid;
