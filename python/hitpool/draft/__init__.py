"""The first configuration for somebody's own detector, from a look at the data."""

from hitpool.draft.draft import Draft, draft

__all__ = ["Draft", "draft"]
