-- An owner's live agents, who are few, without looking at all that ever were: they are counted whenever one more is
-- made, and whenever the owner is asked something.
create index kavach_agents_live on kavach_agents (project_id, owner_id, expires_at) where revoked_at is null;
