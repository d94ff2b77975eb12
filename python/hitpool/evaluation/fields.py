"""Which quantities the fields of a model hold, whatever their names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hitpool.evaluation.quantities import SOURCES, Resolution, parameter_fields, quantity_field, resolution_of
from hitpool.nn import MaskFormer
from hitpool.quantity import quantity_of
from hitpool.tasks.regression import RegressionTask


def regressions(network: MaskFormer) -> list[RegressionTask]:
    """Tasks of a model that regress parameters.

    Args:
        network: Model of the `hitpool.nn.MaskFormer` interface.
    """
    return [task for task in network.tasks if isinstance(task, RegressionTask)]


def all_fields(
    names: Iterable[str], tasks: Iterable[RegressionTask], given: Mapping[str, str | None] | None = None
) -> dict[str, str]:
    """Finds the fields of `SOURCES` by their names; all others are quantities of their own.

    Without q, the charge is the sign of qpt or qop, or else the only field that is learned as a sign.

    Args:
        names: Names of the targets.
        tasks: What learns them.
        given: Field by quantity where its name does not say it.

    Returns:
        Field by quantity.

    Raises:
        ValueError: If two fields have the same quantity and none is given for it.
    """
    names = list(names)
    fields = parameter_fields(names, dict.fromkeys(("pt", "eta", "phi", "q")) | dict(given or {}))
    signs = [field for task in tasks for k, field in enumerate(task.fields) if task.space.sign[k]]
    if "q" not in fields and len(signs) == 1:
        fields["q"] = signs[0]
    for quantity in ("qpt", "theta", "qop"):
        if field := quantity_field(names, quantity, "set charge" if quantity != "theta" else "a comparison needs one"):
            fields.setdefault(quantity, field)
    known = set(fields.values())
    return fields | {name: name for name in names if name not in known and quantity_of(name) not in SOURCES}


def own_resolutions(tasks: Iterable[RegressionTask], units: Mapping[str, str]) -> dict[str, Resolution]:
    """What is compared of the fields that are none of the known quantities, by field.

    Args:
        tasks: What learns them: 1 / value means relative residuals, a periodic field wrapped ones.
        units: Unit by column, as far as they are known.
    """
    return {
        field: resolution_of(
            field, units.get(field, ""), relative=bool(task.space.inverse[k]), periodic=bool(task.space.periodic[k])
        )
        for task in tasks
        for k, field in enumerate(task.fields)
        if quantity_of(field) not in SOURCES
    }


def units_of(datamodule: Any) -> dict[str, str]:
    """Units of the columns of the test data, as far as the data set remembers them.

    Args:
        datamodule: Data module with test events.
    """
    return dict(getattr(datamodule.dataset("test").index, "units", None) or {})
