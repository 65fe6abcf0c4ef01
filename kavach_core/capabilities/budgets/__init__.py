"""What may be spent: calls and cost, by an agent, a delegation, an owner or the whole project."""

from kavach_core.capabilities.budgets.ledger import Charge, Ledger
from kavach_core.capabilities.budgets.model import Action, Budget, Measure, Period
from kavach_core.capabilities.budgets.service import Budgets

__all__ = ["Action", "Budget", "Budgets", "Charge", "Ledger", "Measure", "Period"]
