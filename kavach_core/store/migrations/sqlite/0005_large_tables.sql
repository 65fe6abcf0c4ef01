-- An owner's live agents, who are few, without looking at all that ever were: they are counted whenever one more is
-- made, and whenever the owner is asked something.
create index kavach_agents_live on kavach_agents (project_id, owner_id, expires_at) where revoked_at is null;

-- What SQLite plans by. Without it `project_id = ?` counts as a condition that few rows meet, and whatever comes with it
-- looks through all rows of the project. These are the figures of large tables: how many rows, and for each first
-- column of an index, each first two and so on, how many share the same values. A later ANALYZE replaces them. Nothing is
-- said about the audit: it is read in the order of its ids, which a planner that knew it would leave for a sort.
analyze kavach_projects;
delete from sqlite_stat1 where tbl like 'kavach!_%' escape '!';
insert into sqlite_stat1 (tbl, idx, stat) values
    ('kavach_agents', 'kavach_agents', '1000000 1000000 1'),
    ('kavach_agents', 'kavach_agents_owner', '1000000 1000000 100 1'),
    ('kavach_agents', 'kavach_agents_live', '1000000 1000000 20 10'),
    ('kavach_agent_tokens', 'kavach_agent_tokens', '1000000 1'),
    ('kavach_agent_tokens', 'kavach_agent_tokens_agent', '1000000 2 2'),
    ('kavach_api_keys', 'sqlite_autoindex_kavach_api_keys_1', '1000 1'),
    ('kavach_api_keys', 'sqlite_autoindex_kavach_api_keys_2', '1000 1000 1'),
    ('kavach_approvals', 'kavach_approvals', '1000000 1000000 1'),
    ('kavach_approvals', 'kavach_approvals_agent', '1000000 100 100 1'),
    ('kavach_approvals', 'kavach_approvals_open', '10000 1 1'),
    ('kavach_approvals', 'kavach_approvals_pending', '10000 5 5'),
    ('kavach_budgets', 'kavach_budgets', '100000 100000 2 1'),
    ('kavach_budgets', 'kavach_budgets_id', '100000 1 1'),
    ('kavach_challenges', 'kavach_challenges', '10000 10000 1'),
    ('kavach_challenges', 'kavach_challenges_end', '10000 10000 2'),
    ('kavach_counters', 'kavach_counters', '1000000 1000000 1'),
    ('kavach_counters', 'kavach_counters_touched', '1000000 1000000 100'),
    ('kavach_delegations', 'kavach_delegations', '1000000 1000000 1'),
    ('kavach_delegations', 'kavach_delegations_from', '1000000 10 10 1'),
    ('kavach_delegations', 'kavach_delegations_received', '1000000 10 10 1'),
    ('kavach_delegations', 'kavach_delegations_to', '100000 5 5 2'),
    ('kavach_events', 'sqlite_autoindex_kavach_events_1', '1000000 1000000 1'),
    ('kavach_owners', 'kavach_owners', '100000 100000 1'),
    ('kavach_passkeys', 'kavach_passkeys', '1000000 1000000 1'),
    ('kavach_passkeys', 'kavach_passkeys_user', '1000000 2 2 1'),
    ('kavach_passkeys', 'sqlite_autoindex_kavach_passkeys_2', '1000000 1000000 1'),
    ('kavach_passwords', 'kavach_passwords', '100000 100000 1'),
    ('kavach_permission_sets', 'sqlite_autoindex_kavach_permission_sets_1', '100000 100000 1'),
    ('kavach_recovery_codes', 'kavach_recovery_codes', '1000000 1000000 1'),
    ('kavach_recovery_codes', 'kavach_recovery_codes_user', '1000000 10 10'),
    ('kavach_reservations', 'kavach_reservations', '100000 100000 1'),
    ('kavach_sessions', 'sqlite_autoindex_kavach_sessions_1', '1000000 1'),
    ('kavach_sessions', 'sqlite_autoindex_kavach_sessions_2', '1000000 1000000 1'),
    ('kavach_sessions', 'kavach_sessions_user', '1000000 1000000 20 1'),
    ('kavach_sessions', 'kavach_sessions_browser', '1000000 1000000 20 2'),
    ('kavach_users', 'kavach_users', '1000000 1000000 1'),
    ('kavach_users', 'sqlite_autoindex_kavach_users_2', '1000000 1000000 1'),
    ('kavach_users', 'sqlite_autoindex_kavach_users_3', '1000000 1000000 1'),
    ('kavach_users', 'sqlite_autoindex_kavach_users_4', '1000000 1000000 1');
