"""Trained models for use without the training code."""

from hitpool.export.deployed import DeployedModel
from hitpool.export.torchscript import export, save, trace

__all__ = ["DeployedModel", "export", "save", "trace"]
