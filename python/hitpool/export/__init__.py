"""Trained models for use without the training code."""

from hitpool.export.deployed import DeployedModel
from hitpool.export.formats import FORMATS, format_for, load
from hitpool.export.job import export, write_model

__all__ = ["FORMATS", "DeployedModel", "export", "format_for", "load", "write_model"]
