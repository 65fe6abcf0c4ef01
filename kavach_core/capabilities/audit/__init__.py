"""The append-only record of decisions: written with them, read without stopping them."""

from kavach_core.capabilities.audit.model import AuditEntry, AuditFilter, PathLink, Record, Result
from kavach_core.capabilities.audit.service import Audit

__all__ = ["Audit", "AuditEntry", "AuditFilter", "PathLink", "Record", "Result"]
