"""The model: input network, encoder, decoder, tasks."""

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from hitpool.nn.ambiguity import AmbiguityResolution
from hitpool.nn.decoder import MaskFormerDecoder
from hitpool.nn.fields import stack_fields
from hitpool.nn.matcher import Matcher
from hitpool.nn.task import Task

LayerTensors = dict[str, dict[str, dict[str, Tensor]]]


class MaskFormer(nn.Module):
    """Transformer that finds objects among hits and describes them through its tasks.

    Args:
        input_nets: One network that embeds the hits.
        encoder: Maps embeddings [B, M, D] and hit validity [B, M] to encoded hits [B, M, D].
        decoder: Refines the object queries against the hits.
        tasks: Tasks, run in this order.
        dim: Features D of the embeddings.
        target_object: Name of the true objects, such as `particle`.
        matcher: Assigns predictions to true objects.
        input_sort_field: Field of the hits by which they are ordered in the encoder, such as `phi`; necessary for its
            `window_size`. Outside it they are in the order of the input.
        ambiguity: Shares hits out among the predicted tracks; None leaves a hit to all tracks that claim it.

    Raises:
        ValueError: The parts differ in `dim` or in the number of queries, names of tasks repeat, a task comes before
            one whose output it needs, or an order or queries are needed and not given.

    Source: Cheng et al., Masked-attention mask transformer (arXiv:2112.01527).
    """

    def __init__(
        self,
        input_nets: nn.ModuleList,
        encoder: nn.Module,
        decoder: MaskFormerDecoder,
        tasks: nn.ModuleList,
        dim: int,
        target_object: str = "particle",
        matcher: Matcher | None = None,
        input_sort_field: str | None = None,
        ambiguity: AmbiguityResolution | None = None,
    ) -> None:
        super().__init__()
        if len(input_nets) != 1:
            raise ValueError(f"MaskFormer: input_nets needs exactly one network, got {len(input_nets)}")
        self.input_nets = input_nets
        self.encoder = encoder
        self.decoder = decoder
        self.tasks = cast(Sequence[Task], tasks)
        self.dim = dim
        self.target_object = target_object
        self.matcher = matcher or Matcher()
        self.input_name = cast(str, input_nets[0].input_name)
        self.input_sort_field = input_sort_field
        self.ambiguity = ambiguity
        if getattr(encoder, "window_size", None) is not None and input_sort_field is None:
            raise ValueError("MaskFormer: encoder.window_size needs an order of the hits; set input_sort_field, as phi")
        self._seeding = [task for task in self.tasks if task.gives_queries]
        self._check_queries()
        self._check_dims()
        self._check_tasks()
        self.frozen: list[nn.Module] = []

    def _check_queries(self) -> None:
        dynamic = self.decoder.dynamic_queries
        if len(self._seeding) != dynamic:
            names = [task.name for task in self._seeding]
            wanted = "one ObjectSeedTask" if dynamic else "no ObjectSeedTask"
            raise ValueError(f"MaskFormer: decoder.dynamic_queries is {dynamic} and needs {wanted}, got {names}")
        for task in self._seeding:
            number: int = task.num_queries  # type: ignore[attr-defined]
            if number != self.decoder.num_queries:
                raise ValueError(
                    f"MaskFormer: task {task.name} has num_queries = {number} and the decoder "
                    f"{self.decoder.num_queries}; set both to the same"
                )

    def _check_dims(self) -> None:
        parts = {"input_nets.0.net": getattr(self.input_nets[0].net, "output_size", None)}
        parts |= {
            "encoder": getattr(self.encoder, "dim", None),
            "decoder.decoder_layer_config": self.decoder.dim,
        }
        parts["input_nets.0.posenc"] = getattr(self.input_nets[0].posenc, "dim", None)
        parts |= {f"task {task.name}": task.dim for task in self.tasks}
        for part, dim in parts.items():
            if dim is not None and dim != self.dim:
                raise ValueError(
                    f"MaskFormer: {part} has dim = {dim} and the model dim = {self.dim}; set both to the same"
                )

    def _check_tasks(self) -> None:
        names = [task.name for task in self.tasks]
        if repeated := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"MaskFormer: names of tasks repeat: {sorted(repeated)}; give each task its own")
        produced: set[str] = set()
        for task in self.tasks:
            for key in task.required_outputs:
                if key in produced:
                    continue
                later = [other.name for other in self.tasks if key in other.outputs]
                advice = (
                    f"put it after task {later[0]}" if later else "add an ObjectHitMaskTask with that output before it"
                )
                raise ValueError(f"MaskFormer: task {task.name} needs {key}, which no task before it gives; {advice}")
            produced.update(task.outputs)
        for key in () if self.ambiguity is None else self.ambiguity.needs:
            if key not in produced:
                raise ValueError(
                    f"MaskFormer: ambiguity needs a task with {key}, none gives it; set track and hit of "
                    f"{type(self.ambiguity).__name__}, or leave it out"
                )

    def freeze(self, parts: Iterable[nn.Module]) -> None:
        """Keeps parts as they are: without gradients, always in evaluation mode, tasks among them without losses.

        Args:
            parts: Modules of this network.
        """
        self.frozen = list(parts)
        for part in self.frozen:
            part.requires_grad_(False).eval()

    def _scored_tasks(self) -> list[Task]:
        return [task for task in self.tasks if task not in self.frozen]

    def train(self, mode: bool = True) -> "MaskFormer":
        """Switches between training and evaluation; frozen parts are always in evaluation mode.

        Args:
            mode: Whether to train.
        """
        super().train(mode)
        for part in self.frozen:
            part.eval()
        return self

    def forward(self, inputs: Mapping[str, Tensor], intermediate: bool = True) -> LayerTensors:
        """Run the network.

        Args:
            inputs: The hits of a batch: `hitpool.hits.Hits`, or `<input>_<field>` float [B, M] and `<input>_valid` bool
                [B, M].
            intermediate: Run the tasks in front of the decoder layers for their losses too; without, only those
                run there whose masks the decoder uses, and the final outputs are the same.

        Returns:
            Outputs of the tasks as layer -> task -> name -> tensor; layers `layer_0` to `layer_<L-1>`, where
            the tasks ran in front of that decoder layer, if `intermediate` and a task has losses there, and
            `final`.
        """
        embed, valid = f"{self.input_name}_embed", f"{self.input_name}_valid"
        x = {"inputs": inputs, valid: inputs[valid]}
        x[embed] = self._encode(self.input_nets[0](inputs), inputs)  # [B, M, D]
        final: dict[str, dict[str, Tensor]] = {}
        for task in self._seeding:
            final[task.name] = task(x)
            x["query_embed"] = final[task.name].pop("query_embed")  # [B, N, D]
        intermediate = intermediate and any(task.has_intermediate_loss for task in self._scored_tasks())
        tasks = [task for task in self.tasks if intermediate or task.guides_decoder]
        x, outputs = self.decoder(x, tasks, self.input_name)
        outputs = {layer: final | done for layer, done in outputs.items()}
        for task in self.tasks:
            if task.gives_queries:
                continue
            done = task(x, outputs=final)
            for name in task.revises:
                owner = next(earlier for earlier in final.values() if name in earlier)
                owner[name] = done.pop(name)
            final[task.name] = done
        return (outputs if intermediate else {}) | {"final": final}

    def _encode(self, x: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        """Encoded hits [B, M, D] in the order of the input."""
        valid = inputs[f"{self.input_name}_valid"]  # [B, M]
        if self.input_sort_field is None:
            return self.encoder(x, valid)
        key = stack_fields(inputs, self.input_name, [self.input_sort_field], valid).squeeze(-1)
        order = key.masked_fill(~valid, torch.inf).argsort(dim=-1, stable=True)  # [B, M]
        x = self.encoder(_in_order(x, order), valid.gather(1, order))
        return _in_order(x, order.argsort(dim=-1))

    def match(self, outputs: LayerTensors, targets: dict[str, Tensor]) -> LayerTensors:
        """Bring the predictions of each layer into the order of the true objects.

        Args:
            outputs: What `forward` returned; it is left as it is.
            targets: `<target_object>_valid` bool [B, N] and the targets of the tasks.

        Returns:
            A new nested dict, where slot i of every entry named in `task.outputs` belongs to target i.

        Raises:
            ValueError: Numbers of slots and queries differ, or a cost is NaN.
        """
        return {layer: self._match_layer(layer, done, targets) for layer, done in outputs.items()}

    def pair(self, layer: str, done: dict[str, dict[str, Tensor]], targets: dict[str, Tensor]) -> Tensor:
        """Find the query of each true object.

        Args:
            layer: Name of the layer, for error messages.
            done: Outputs of the tasks that ran there, task -> name -> tensor.
            targets: As for `match`.

        Returns:
            Number of the query that belongs to target i, int64 [B, N].

        Raises:
            ValueError: Numbers of slots and queries differ, or a cost is NaN.
        """
        target_valid = targets[f"{self.target_object}_valid"]
        if target_valid.shape[-1] != self.decoder.num_queries:
            raise ValueError(
                f"MaskFormer: targets have {target_valid.shape[-1]} slots and the decoder "
                f"{self.decoder.num_queries} queries; make data.max_particles and decoder.num_queries equal"
            )
        with torch.no_grad():
            costs = {
                f"{layer} {task.name} {name}": cost
                for task in self.tasks
                if task.name in done
                for name, cost in task.cost(done[task.name], targets).items()
            }
        return self.matcher(costs, target_valid, targets.get("sample_id"))

    def _match_layer(
        self, layer: str, done: dict[str, dict[str, Tensor]], targets: dict[str, Tensor]
    ) -> dict[str, dict[str, Tensor]]:
        pred_idx = self.pair(layer, done, targets)  # [B, N]
        event = torch.arange(len(pred_idx), device=pred_idx.device).unsqueeze(-1)  # [B, 1]
        matched = dict(done)
        for task in self.tasks:
            if task.name in done:
                matched[task.name] = {
                    name: tensor[event, pred_idx] if name in task.outputs else tensor
                    for name, tensor in done[task.name].items()
                }
        return matched

    def loss(self, outputs: LayerTensors, targets: dict[str, Tensor]) -> LayerTensors:
        """Losses of matched outputs.

        Args:
            outputs: What `match` returned.
            targets: Targets of the tasks.

        Returns:
            layer -> task -> name -> 0-dim tensor; their sum is to be minimised. In layers other than `final`
            only tasks with an intermediate loss appear, frozen tasks in none.
        """
        scored = self._scored_tasks()
        return {
            layer: {
                task.name: task.loss(done[task.name], targets, layer_outputs=done)
                for task in scored
                if task.name in done and (layer == "final" or task.has_intermediate_loss)
            }
            for layer, done in outputs.items()
        }

    def predict(self, outputs: LayerTensors) -> LayerTensors:
        """Predictions of the final layer, from matched or unmatched outputs.

        Args:
            outputs: What `forward` or `match` returned.

        Returns:
            `final` -> task -> name -> tensor.
        """
        final, query_mask = outputs["final"], None
        for task in self.tasks:
            if (mask := task.query_mask(final[task.name])) is not None:
                query_mask = mask
        preds = {task.name: task.predict(final[task.name], query_mask=query_mask) for task in self.tasks}
        return {"final": preds if self.ambiguity is None else self.ambiguity(preds)}

    def metrics(self, preds: LayerTensors, targets: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """Metrics of matched predictions.

        Args:
            preds: What `predict` returned for matched outputs.
            targets: Targets of the tasks.

        Returns:
            task -> name -> 0-dim tensor. What is not defined in the batch, such as the mean over no particle,
            is left out.
        """
        return {task.name: task.metrics(preds["final"][task.name], targets) for task in self.tasks}


def _in_order(x: Tensor, order: Tensor) -> Tensor:
    """Hits [B, M, D] in another order [B, M]."""
    return x.gather(1, order.unsqueeze(-1).expand(-1, -1, x.shape[-1]))
