"""The pooled regression as a task of hepattn's models."""

import warnings
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from hitpool import tasks
from hitpool.hepattn.arguments import own_arguments, with_wide_head
from hitpool.hepattn.first_particles import FirstParticles
from hitpool.hepattn.metrics import hepattn_metrics
from hitpool.hepattn.sorted_hits import in_order


class WeightedPoolingObjectHitRegressionTask(tasks.WeightedPoolingObjectHitRegressionTask):
    """The task of the same name by the rules of hepattn 0.2 and of its muon fork.

    It finds raw hits and logits where they put them, follows the `Sorter`, and with `standardize: true` takes mean and
    spread of the targets from the first 1,000 particles of the training. Particles whose target in an inverse field is
    0 or below are left out of the loss of that field, with a warning: hepattn's own dummy events have such pT. It does
    not work with `unified_decoding`, in which assignment and encoding are of all kinds of hits together.

    Args:
        name: Key of its outputs, losses and predictions.
        input_hit: Kind of hits, as the fork calls it.
        input_constituent: The same, as upstream calls it; exactly one of them is needed.
        pooled_dim: Features of raw and of encoded hits each; None for half of `dim`, or for `dim` if
            `regression_hidden_dim`, `regression_num_layers` and `dropout` are all given, as for the fork's wide head,
            whose `layer_norm: hidden` and `head_activation: relu` are then the defaults, too.
        **kwargs: The other arguments of hitpool's task.
    """

    def __init__(
        self,
        name: str,
        input_hit: str | None = None,
        *,
        input_constituent: str | None = None,
        pooled_dim: int | None = None,
        **kwargs: Any,
    ) -> None:
        names = {"name": name, "input_hit": input_hit, "input_constituent": input_constituent}
        own = own_arguments(names | {"pooled_dim": pooled_dim} | kwargs)
        if own["input_hit"] == "key":
            raise ValueError(
                f"task {name}: key is all kinds of hits together, which have no common raw fields; name one kind, such "
                "as hit, and set unified_decoding: false"
            )
        kwargs.update(with_wide_head(kwargs))
        super().__init__(name, own["input_hit"], pooled_dim=own["pooled_dim"], **kwargs)
        self._in_decoder = False
        self._said_left_out = False
        self._first = FirstParticles(self.space)

    def should_run_at_layer(self, layer_index: int) -> bool:
        self._in_decoder = super().should_run_at_layer(layer_index)
        return self._in_decoder

    def forward(self, x: dict[str, Any], outputs: dict[str, dict[str, Tensor]] | None = None) -> dict[str, Tensor]:
        """As hitpool's task; nothing in front of a decoder layer for which the mask task does not run."""
        in_decoder, self._in_decoder = self._in_decoder, False  # `should_run_at_layer` was asked for this run
        done = {name: found for name, found in (outputs or {}).items() if isinstance(found, Mapping)}
        places = [*done.values(), x]
        logits = next((place[self.logit_key] for place in places if self.logit_key in place), None)  # [B, N, M]
        if logits is None and any(f"{self.output_object}_key_logit" in place for place in places):
            raise ValueError(
                f"task {self.name}: hits of all kinds are assigned together, in {self.output_object}_key_logit, not "
                f"those of {self.input_hit}; set unified_decoding: false"
            )
        if logits is None and in_decoder:
            return {}
        fields = [*self.hit_fields, *(self.track_fit.inputs if self.track_fit else ())]
        own = {
            key: x[key] for key in (f"{self.input_object}_embed", f"{self.input_hit}_embed", f"{self.input_hit}_valid")
        }
        own["inputs"] = in_order(x, self.input_hit, list(dict.fromkeys(fields)))
        return super().forward(own, done if logits is None else {self.name: {self.logit_key: logits}})

    def _known_targets(self, targets: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        valid, physical = self._targets(targets)
        self._say_left_out(physical)
        self._first.learn(physical, self.training)
        return valid, physical

    def _refused(self, physical: Tensor) -> Tensor:
        return ~physical.isfinite()

    def _say_left_out(self, physical: Tensor) -> None:
        left_out = (~self.space.learnable(physical)).sum(0).tolist()
        if self._said_left_out or not any(left_out):
            return
        self._said_left_out = True
        counts = ", ".join(f"{field} of {n}" for n, field in zip(left_out, self.fields, strict=True) if n)
        warnings.warn(
            f"task {self.name}: 0 or below, of which there is no inverse, is the target {counts} of {len(physical)} "
            "particles in a batch: left out of the loss and the metrics of that field (said once)",
            stacklevel=2,
        )

    def metrics(self, preds: dict[str, Tensor], targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """As hitpool's task, and what hepattn and its fork log; see `hepattn_metrics`."""
        metrics = super().metrics(preds, targets)
        if not metrics:
            return metrics
        valid, physical = self._targets(targets)
        learnable = self.space.learnable(physical)  # [P, K]
        for k, field in enumerate(self.fields):
            if (some := learnable[:, k]).any():
                pred = preds[f"{self.output_object}_{field}"][valid][some]
                metrics |= hepattn_metrics(field, pred, physical[some, k])
        return metrics

    def _load_from_state_dict(self, *args: Any) -> None:
        super()._load_from_state_dict(*args)
        self._first = FirstParticles(self.space)
