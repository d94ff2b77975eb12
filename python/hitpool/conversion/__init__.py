"""From ROOT ntuples to data sets."""

from hitpool.conversion.cuts import Cuts
from hitpool.conversion.job import convert
from hitpool.conversion.mapping import Mapping, read_mapping

__all__ = ["Cuts", "Mapping", "convert", "read_mapping"]
