"""Numbers, plots and files that say how good predictions are."""

from hitpool.evaluation.event_display import plot_event
from hitpool.evaluation.parameter_fields import ParameterFields
from hitpool.evaluation.prediction_writer import PredictionWriter
from hitpool.evaluation.report import TestReport
from hitpool.evaluation.residuals import periodic_residual, relative_residual, residual, sigma68
from hitpool.evaluation.results import evaluate
from hitpool.evaluation.tracks import EventTracks

__all__ = [
    "EventTracks",
    "ParameterFields",
    "PredictionWriter",
    "TestReport",
    "evaluate",
    "periodic_residual",
    "plot_event",
    "relative_residual",
    "residual",
    "sigma68",
]
