"""Human consent to one exact call: asked for by a decision, given or refused by the owner, used once."""

from kavach_core.capabilities.approvals.model import Approval, ApprovalStatus
from kavach_core.capabilities.approvals.service import Approvals

__all__ = ["Approval", "ApprovalStatus", "Approvals"]
