"""Identities for agents: make, read, change, rotate, revoke, and let one hand a part of what it has to a new one."""

from kavach_core.capabilities.agents.model import Agent, AgentStatus, DelegatedAgent, RotatedAgent
from kavach_core.capabilities.agents.service import Agents

__all__ = ["Agent", "AgentStatus", "Agents", "DelegatedAgent", "RotatedAgent"]
