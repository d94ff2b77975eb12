"""Which column links a hit to its track."""

from hitpool.files import EventIndex
from hitpool.muon import TRUTH_LINK


def truth_link_of(index: EventIndex, wanted: str | None = None) -> str:
    """Name of the truth link column.

    Args:
        index: The index of a data set.
        wanted: What somebody asks for.

    Returns:
        What is asked for, else what the data set says, else that of the muon columns; it may be missing in the data.
    """
    return wanted or index.truth_link or TRUTH_LINK
