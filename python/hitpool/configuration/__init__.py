"""Configurations: `resolve` makes a complete one of files and options, `build_...` makes its objects, each alone."""

from hitpool.configuration.building import build_data, build_model, build_trainer, build_trainer_options, seed
from hitpool.configuration.command_line import Arguments, interpret
from hitpool.configuration.resolving import resolve
from hitpool.configuration.stored import RunConfig, stored_configuration
from hitpool.configuration.trust import UntrustedError, check_trusted

__all__ = [
    "Arguments",
    "RunConfig",
    "UntrustedError",
    "build_data",
    "build_model",
    "build_trainer",
    "build_trainer_options",
    "check_trusted",
    "interpret",
    "resolve",
    "seed",
    "stored_configuration",
]
