"""Measurements: the ops and the model against everything that could be used instead (`hitpool bench`)."""
