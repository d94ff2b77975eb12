"""Looking at a data set before training: what is in it, and what is wrong with it."""

from hitpool.inspection.scan import Scan, scan

__all__ = ["Scan", "scan"]
