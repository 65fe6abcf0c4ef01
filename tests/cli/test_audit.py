"""`kavach audit` and `kavach prune`: filters narrow, a trace is the chain in order, an export is all of it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from kavach_core.primitives.clock import DAY, system_clock
from tests.cli.support import Command, Story, tell


def test_the_record_is_listed_newest_first_and_filtered(everywhere: Command) -> None:
    story = everywhere.inside(tell)
    everything = everywhere.json("audit", "list")
    assert [entry["action"] for entry in everything] == ["write", "read", "read"]
    for filters, expected in (
        (("--agent", story.child_id), 2),
        (("--owner", "alice"), 3),
        (("--owner", "bob"), 0),
        (("--action", "write"), 1),
        (("--action", "write", "--action", "read"), 3),
        (("--result", "denied"), 1),
        (("--since", "1h"), 3),
        (("--until", "1h"), 0),
        (("--until", "2020-01-01T00:00:00Z"), 0),
        (("--before", everything[0]["id"]), 2),
        (("--limit", "1", "--offset", "1"), 1),
    ):
        assert len(everywhere.json("audit", "list", *filters)) == expected, filters


def test_the_table_tells_results_codes_and_dry_runs(kavach: Command, story: Story) -> None:
    _, denied, *_, first = kavach.out("audit", "list").splitlines()
    assert denied.split()[-6:] == ["write", "repos", "denied", "NOT_GRANTED,", "dry", "run"]
    assert first.split()[-5:] == [story.agent_id, "0", "read", "repos", "allowed"]
    assert kavach("audit", "list", "--limit", "1").stderr.startswith("1 of 3")


def test_a_trace_is_the_whole_chain_oldest_first(kavach: Command, story: Story) -> None:
    trace = kavach.json("audit", "trace", story.child_id)
    assert [entry["agentId"] for entry in trace] == [story.agent_id, story.child_id, story.child_id]
    assert kavach.json("audit", "trace", story.agent_id, "--after", trace[0]["id"]) == trace[1:]
    assert "goes on" in kavach("audit", "trace", story.agent_id, "--limit", "2").stderr


def test_an_export_goes_to_stdout_or_a_file(kavach: Command, story: Story, tmp_path: Path) -> None:
    entries = json.loads(kavach.out("audit", "export"))
    assert [entry["action"] for entry in entries] == ["read", "read", "write"]
    file = tmp_path / "audit.csv"
    result = kavach("audit", "export", "--format", "csv", "--output", str(file), "--result", "denied")
    assert result.stdout == ""
    with file.open(newline="") as lines:
        (row,) = csv.DictReader(lines)
    assert row["code"] == "NOT_GRANTED"
    assert b"\r\n" in file.read_bytes()
    assert b"\r\r\n" not in file.read_bytes()


@pytest.mark.parametrize("options", [("--format", "xml"), ("--output", "/nowhere/at/all.json"), ("--output", ".")])
def test_an_export_that_cannot_be_is_a_usage_error(kavach: Command, story: Story, options: tuple[str, ...]) -> None:
    assert kavach("audit", "export", *options).exit_code == 2


@pytest.mark.parametrize(
    "options", [("--since", "yesterday"), ("--since", "2024-01-01T00:00:00"), ("--result", "maybe")]
)
def test_filters_that_make_no_sense_are_refused(kavach: Command, story: Story, options: tuple[str, ...]) -> None:
    assert kavach.refusal("audit", "list", *options).startswith("INVALID_INPUT: ")


def test_prune_deletes_what_is_older_and_nothing_else(kavach: Command) -> None:
    kavach.inside(tell, clock=lambda: system_clock() - 100 * DAY)
    kavach.inside(tell)
    assert kavach.out("prune", "--older-than", "101d") == "Deleted 0 entries.\n"
    assert kavach.out("prune", "--older-than", "90d") == "Deleted 3 entries.\n"
    assert len(kavach.json("audit", "list", "--since", "1h")) == len(kavach.json("audit", "list")) == 3
