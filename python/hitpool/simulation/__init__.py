"""Muon-spectrometer event generator: truth, propagation, hits, background."""

from hitpool.files import Events
from hitpool.simulation.crossings import Crossings, layer_crossings
from hitpool.simulation.events import generate_events, muon_signals
from hitpool.simulation.field import toroid_field
from hitpool.simulation.generate import simulate
from hitpool.simulation.geometry import Layers, muon_layers
from hitpool.simulation.information import Bound, cramer_rao_bound
from hitpool.simulation.material import Line, Passage, sample_passage, scattering_angle
from hitpool.simulation.propagation import Plan, Trajectory, propagate, propagate_muons
from hitpool.simulation.readout import HIT_FEATURES, TRACK_FEATURES, drift_resolution, drift_time, read_out
from hitpool.simulation.settings import Settings
from hitpool.simulation.signals import Signals, crossing_signals
from hitpool.simulation.truth import Muons, sample_muons

__all__ = [
    "HIT_FEATURES",
    "TRACK_FEATURES",
    "Bound",
    "Crossings",
    "Events",
    "Layers",
    "Line",
    "Muons",
    "Passage",
    "Plan",
    "Settings",
    "Signals",
    "Trajectory",
    "cramer_rao_bound",
    "crossing_signals",
    "drift_resolution",
    "drift_time",
    "generate_events",
    "layer_crossings",
    "muon_layers",
    "muon_signals",
    "propagate",
    "propagate_muons",
    "read_out",
    "sample_muons",
    "sample_passage",
    "scattering_angle",
    "simulate",
    "toroid_field",
]
