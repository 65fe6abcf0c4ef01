-- Which browser signed in, as a hash of its name: guesses made elsewhere do not shut it out of that account.
alter table kavach_sessions add column browser_hash blob;
create index kavach_sessions_browser on kavach_sessions (project_id, user_id, browser_hash)
where browser_hash is not null;
