"""Numbers, plots and files that say how good predictions are."""

from typing import TYPE_CHECKING

from hitpool._lazy import lazily

if TYPE_CHECKING:
    from hitpool.evaluation.acts_writer import ActsWriter
    from hitpool.evaluation.prediction_table import PredictionTable
    from hitpool.evaluation.prediction_writer import PredictionWriter
    from hitpool.evaluation.report import TestReport
else:
    __getattr__ = lazily(
        __name__,
        {
            "ActsWriter": "hitpool.evaluation.acts_writer",
            "PredictionTable": "hitpool.evaluation.prediction_table",
            "PredictionWriter": "hitpool.evaluation.prediction_writer",
            "TestReport": "hitpool.evaluation.report",
        },
    )

__all__ = ["ActsWriter", "PredictionTable", "PredictionWriter", "TestReport"]
