"""Configurations: `resolve` makes a complete one of files and options, `build_...` makes its objects, each alone."""

from typing import TYPE_CHECKING

from hitpool._lazy import lazily

if TYPE_CHECKING:
    from hitpool.configuration.building import (
        build_data,
        build_model,
        build_trainer,
        build_trainer_options,
        seed,
        set_matmul_precision,
    )
    from hitpool.configuration.command_line import Arguments, interpret
    from hitpool.configuration.resolving import resolve
    from hitpool.configuration.stored import RunConfig, stored_configuration
    from hitpool.configuration.trust import UntrustedError, check_trusted
else:
    __getattr__ = lazily(
        __name__,
        {
            "Arguments": "hitpool.configuration.command_line",
            "RunConfig": "hitpool.configuration.stored",
            "UntrustedError": "hitpool.configuration.trust",
            "build_data": "hitpool.configuration.building",
            "build_model": "hitpool.configuration.building",
            "build_trainer": "hitpool.configuration.building",
            "build_trainer_options": "hitpool.configuration.building",
            "check_trusted": "hitpool.configuration.trust",
            "interpret": "hitpool.configuration.command_line",
            "resolve": "hitpool.configuration.resolving",
            "seed": "hitpool.configuration.building",
            "set_matmul_precision": "hitpool.configuration.building",
            "stored_configuration": "hitpool.configuration.stored",
        },
    )

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
    "set_matmul_precision",
    "stored_configuration",
]
