"""Transactions on SQLite and PostgreSQL. Knows no capability."""

from kavach_core.store.store import BatchWorker, Lane, Row, Store, Transaction

__all__ = ["BatchWorker", "Lane", "Row", "Store", "Transaction"]
