"""Numbers, plots and files that say how good predictions are."""

from hitpool.evaluation.event_display import plot_event
from hitpool.evaluation.prediction_table import PredictionTable
from hitpool.evaluation.prediction_writer import PredictionWriter
from hitpool.evaluation.report import TestReport

__all__ = ["PredictionTable", "PredictionWriter", "TestReport", "plot_event"]
