"""Track fits in closed form: from the assigned hits to the parameters of each track."""

from hitpool.fits.field import BoxToroid, FieldMap
from hitpool.fits.helix import HelixFit
from hitpool.fits.response import FitResponse
from hitpool.fits.toroid import Geometry, ToroidFit

__all__ = ["BoxToroid", "FieldMap", "FitResponse", "Geometry", "HelixFit", "ToroidFit"]
