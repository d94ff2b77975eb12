"""The pooled regression as a task of hepattn's models."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from hitpool import tasks
from hitpool.hepattn.arguments import own_arguments
from hitpool.hepattn.first_particles import FirstParticles
from hitpool.hepattn.sorted_hits import in_order


class WeightedPoolingObjectHitRegressionTask(tasks.WeightedPoolingObjectHitRegressionTask):
    """The task of the same name by the rules of hepattn 0.2 and of its muon fork.

    It finds raw hits and logits where they put them, follows the `Sorter`, and with `standardize: true` takes mean and
    spread of the targets from the first 1,000 particles of the training. It does not work with `unified_decoding`, in
    which assignment and encoding are of all kinds of hits together.

    Args:
        name: Key of its outputs, losses and predictions.
        input_hit: Kind of hits, as the fork calls it.
        input_constituent: The same, as upstream calls it; exactly one of them is needed.
        pooled_dim: Features of raw and of encoded hits each; None for half of `dim`, or for `dim` if
            `regression_hidden_dim`, `regression_num_layers` and `dropout` are all given, as for the fork's wide head.
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
        super().__init__(name, own["input_hit"], pooled_dim=own["pooled_dim"], **kwargs)
        self._in_decoder = False
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
        self._first.learn(physical, self.training)
        return valid, physical

    def _load_from_state_dict(self, *args: Any) -> None:
        super()._load_from_state_dict(*args)
        self._first = FirstParticles(self.space)
