"""Looking at a data set before training: what is in it, and what is wrong with it."""

from hitpool.inspection.scan import Scan, inspect

__all__ = ["Scan", "inspect"]
