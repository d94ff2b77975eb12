"""Track fits in closed form: from the assigned hits to the parameters of each track."""

from hitpool.fits.field import BoxToroid, FieldMap
from hitpool.fits.first_hit import FirstHit
from hitpool.fits.geometry import Geometry
from hitpool.fits.helix import HelixFit
from hitpool.fits.hit_response import HitResponse
from hitpool.fits.learned_field import LearnedField
from hitpool.fits.response import FitResponse
from hitpool.fits.solenoid import SolenoidFit
from hitpool.fits.toroid import ToroidFit
from hitpool.fits.track_fit import TrackFit

__all__ = [
    "BoxToroid",
    "FieldMap",
    "FirstHit",
    "FitResponse",
    "Geometry",
    "HelixFit",
    "HitResponse",
    "LearnedField",
    "SolenoidFit",
    "ToroidFit",
    "TrackFit",
]
