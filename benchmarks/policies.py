"""The policy of the bench `decide` in the words of two engines that decide in memory, each as it is fastest here.

Both from the extra `bench`. Neither knows chains, so these are flattened as one would by hand: an agent has what is
left of its chain, fifty permissions. Their order is that of chance, since both look at one after the other.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final

import casbin
import cedarpy
from casbin.model import FastModel

from benchmarks.world import ACTION, RESOURCE
from kavach_core.primitives.permissions import PermissionSet

#: Answers whether the agent of this number may act.
Decide = Callable[[int], bool]

_CASBIN_MODEL: Final = """
[request_definition]
r = sub, obj, act
[policy_definition]
p = sub, obj, act
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = r.sub == p.sub && keyMatch(r.obj, p.obj) && r.act == p.act
"""
#: Casbin looks only at the lines with the subject and the action of the request.
_KEYS: Final = (0, 2)


def casbin_of(permissions: PermissionSet, agents: int) -> Decide:
    """One enforcer for all agents, which finds their lines by agent and action."""
    model = FastModel(_KEYS)
    model.load_model_from_text(_CASBIN_MODEL)
    enforcer = casbin.FastEnforcer(model, cache_key_order=_KEYS)
    for number in range(agents):
        lines = [(resource, action) for resource, actions in _shuffled(permissions, number) for action in actions]
        enforcer.add_policies([[_name(number), *line] for line in lines])
    names = [_name(number) for number in range(agents)]
    return lambda number: bool(enforcer.enforce(names[number], RESOURCE, ACTION))


def cedar_of(permissions: PermissionSet, agents: int) -> Decide:
    """A policy set for each agent, parsed beforehand: cedar looks at every policy in the set it is given."""
    sets = [cedarpy.PolicySet.from_str(_cedar_text(number, permissions)) for number in range(agents)]
    entities = cedarpy.Entities.from_json_str("[]")
    requests = [
        {
            "principal": f'Agent::"{_name(number)}"',
            "action": f'Action::"{ACTION}"',
            "resource": f'Resource::"{RESOURCE}"',
            "context": {"resource": RESOURCE},
        }
        for number in range(agents)
    ]
    return lambda number: cedarpy.is_authorized(requests[number], sets[number], entities).allowed


def _cedar_text(number: int, permissions: PermissionSet) -> str:
    return "\n".join(_cedar_policy(number, resource, actions) for resource, actions in _shuffled(permissions, number))


def _cedar_policy(number: int, resource: str, actions: Sequence[str]) -> str:
    names = ", ".join(f'Action::"{action}"' for action in actions)
    who_and_what = f'principal == Agent::"{_name(number)}", action in [{names}], resource'
    if "*" in resource:
        return f'permit({who_and_what}) when {{ context.resource like "{resource}" }};'
    return f'permit({who_and_what} == Resource::"{resource}");'


def _shuffled(permissions: PermissionSet, number: int) -> list[tuple[str, Sequence[str]]]:
    pairs = [(permission.resource, permission.actions) for permission in permissions]
    return random.Random(number).sample(pairs, len(pairs))


def _name(number: int) -> str:
    return f"agent{number}"
