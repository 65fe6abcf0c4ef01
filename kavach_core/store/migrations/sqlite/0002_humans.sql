-- People who sign in here. owner_id is who they are to everything else: `usr_...` until `owners rename` says otherwise.
create table kavach_users (
    project_id text not null,
    id blob not null,
    owner_id text not null,
    handle blob not null,
    email text,
    email_key text,
    email_verified_at integer,
    display_name text,
    created_at integer not null,
    primary key (project_id, id),
    unique (project_id, owner_id),
    unique (project_id, handle),
    unique (project_id, email_key)
) strict, without rowid;

-- What was asked and may be answered once: ceremonies, links, sign-ins under way. Its answer deletes the row.
create table kavach_challenges (
    project_id text not null,
    hash blob not null,
    kind text not null,
    browser_hash blob,
    user_id blob,
    session_id blob,
    data text not null,
    expires_at integer not null,
    primary key (project_id, hash)
) strict, without rowid;
create index kavach_challenges_end on kavach_challenges (project_id, expires_at);

create table kavach_passkeys (
    project_id text not null,
    id blob not null,
    user_id blob not null,
    credential_id blob not null,
    public_key blob not null,
    sign_count integer not null,
    transports text not null,
    device_type text not null,
    backed_up integer not null,
    aaguid text not null,
    name text not null,
    created_at integer not null,
    last_used_at integer,
    disabled_at integer,
    primary key (project_id, id),
    unique (project_id, credential_id)
) strict, without rowid;
create index kavach_passkeys_user on kavach_passkeys (user_id, project_id, id);

-- Unused codes only; using one deletes it.
create table kavach_recovery_codes (
    project_id text not null,
    hash blob not null,
    user_id blob not null,
    primary key (project_id, hash)
) strict, without rowid;
create index kavach_recovery_codes_user on kavach_recovery_codes (user_id, project_id);

create table kavach_passwords (
    project_id text not null,
    user_id blob not null,
    hash text not null,
    changed_at integer not null,
    primary key (project_id, user_id)
) strict, without rowid;

-- How a session was started, and when its human last proved who they are.
alter table kavach_sessions add column method text not null default 'app';
alter table kavach_sessions add column fresh_at integer not null default 0;

-- Until when calls that present this agent, or this token it no longer has, are turned away unlooked at.
alter table kavach_agents add column closed_until integer;
alter table kavach_agent_tokens add column closed_until integer;
