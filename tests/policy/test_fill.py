"""A permission on a route may name parts of its path; none can become more than the one segment it stands for."""

from __future__ import annotations

import pytest

from kavach_core.api.route_permission import fill
from kavach_core.errors import InvalidInput


def test_a_part_of_the_path_takes_the_place_of_its_segment() -> None:
    assert fill("repos:{name}:issues", {"name": "kavach"}) == "repos:kavach:issues"


def test_a_resource_without_parts_stays_as_it_is() -> None:
    assert fill("repos:kavach", {"name": "other"}) == "repos:kavach"


@pytest.mark.parametrize("value", ["kavach:secrets", "*", "**", "a*", ":", "a:"])
def test_a_part_that_is_not_one_exact_segment_is_refused(value: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        fill("repos:{name}", {"name": value})
    assert refused.value.field == "name"


def test_a_name_the_path_does_not_have_is_a_mistake_in_the_app() -> None:
    with pytest.raises(KeyError):
        fill("repos:{name}", {})
