"""Two small models that call their tasks as hepattn 0.2.0 (`Upstream`) and its muon fork (`Fork`) do.

Written from a description of the interface. The networks are not hepattn's; what counts is what a task gets, what it
must return, and what happens to that: keys of `x`, order of calls, in-place sums of costs, in-place permutation.
"""

import math

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

Layers = dict[str, dict]


class Sorter:
    """Sorts everything of the hits but the inputs."""

    def __init__(self, input_sort_field: str) -> None:
        self.field = input_sort_field

    def sort(self, x: dict) -> tuple[dict, Tensor]:
        order = torch.argsort(x["inputs"][f"hit_{self.field}"], dim=-1)
        x[f"hit_{self.field}"] = x[f"key_{self.field}"] = x["inputs"][f"hit_{self.field}"]
        sort = {
            name: value for name, value in x.items() if name.startswith(("hit_", "key_")) and isinstance(value, Tensor)
        }
        return x | {name: reorder(value, order, 1) for name, value in sort.items()}, order

    def sort_targets(self, targets: dict, order: Tensor) -> None:
        for name in ("hit_valid", "hit_on_valid_particle"):
            targets[name] = reorder(targets[name], order, 1)
        targets["particle_hit_valid"] = reorder(targets["particle_hit_valid"], order, 2)


def reorder(value: Tensor, order: Tensor, dim: int) -> Tensor:
    shape = [len(order) if d == 0 else order.shape[1] if d == dim else 1 for d in range(value.ndim)]
    return torch.take_along_dim(value, order.view(shape), dim=dim)


class Attend(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.project = nn.Linear(dim, dim)
        self.dense = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, dim))

    def forward(self, q: Tensor, kv: Tensor, mask: Tensor | None) -> Tensor:
        keys = self.norm(kv)
        q = q + scaled_dot_product_attention(self.norm(q), keys, self.project(keys), attn_mask=mask)
        return q + self.dense(q)


class Decoder(nn.Module):
    """Layers of the decoder; the tasks are set by the model."""

    def __init__(self, dim: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Attend(dim) for _ in range(layers))
        self.back = nn.ModuleList(Attend(dim) for _ in range(layers))

    def update(self, x: dict, index: int, attn: Tensor, queries: Tensor | None) -> None:
        """Queries attend to hits, hits to queries."""
        attn = attn | ~attn.any(-1, keepdim=True)
        if x["key_valid"] is not None:
            attn = attn & x["key_valid"].unsqueeze(1) | ~x["key_valid"].any(-1).view(-1, 1, 1)
        x["query_embed"] = self.layers[index](x["query_embed"], x["key_embed"], attn)
        mask = None if queries is None else queries.unsqueeze(1) | ~queries.any(-1).view(-1, 1, 1)
        x["key_embed"] = x["hit_embed"] = self.back[index](x["key_embed"], x["query_embed"], mask)


class UpstreamDecoder(Decoder):
    def forward(self, x: dict) -> tuple[dict, Layers]:
        x = dict(x)
        outputs: Layers = {}
        for index in range(len(self.layers)):
            layer = outputs[f"layer_{index}"] = {}
            attn = torch.zeros(x["query_embed"].shape[:2] + x["hit_valid"].shape[1:], dtype=torch.bool)
            for task in self.tasks:
                if not task.should_run_at_layer(index):
                    continue
                layer[task.name] = task(x, outputs=layer)
                for mask in task.attn_mask(layer[task.name]).values():
                    attn = attn | mask
            layer["attn_mask"] = attn
            self.update(x, index, attn, x.get("query_mask"))
        return x, outputs


class ForkDecoder(Decoder):
    def forward(self, x: dict) -> tuple[dict, Layers]:
        x = dict(x)
        outputs: Layers = {}
        for index in range(len(self.layers)):
            layer = outputs[f"layer_{index}"] = {}
            attn = torch.zeros(x["query_embed"].shape[:2] + x["hit_valid"].shape[1:], dtype=torch.bool)
            queries = None
            for task in self.tasks:
                layer[task.name] = task(x)
                x.update(layer[task.name])
                for mask in task.attn_mask(layer[task.name]).values():
                    attn = attn | mask
                if (mask := task.query_mask(layer[task.name])) is not None:
                    queries = mask
            self.update(x, index, attn, queries)
        return x, outputs


class Model(nn.Module):
    """What both have in common."""

    decoder_class: type[Decoder]

    def __init__(self, tasks: list[nn.Module], fields: list[str], dim: int, queries: int = 2, layers: int = 2) -> None:
        super().__init__()
        self.fields = fields
        self.input_net = nn.Linear(len(fields), dim)
        self.encoder = Attend(dim)
        self.queries = nn.Parameter(torch.randn(queries, dim))
        self.tasks = nn.ModuleList(tasks)
        self.decoder = self.decoder_class(dim, layers)
        self.decoder.tasks = self.tasks

    def embed(self, x: dict, inputs: dict) -> dict:
        x["hit_embed"] = self.input_net(torch.stack([inputs[f"hit_{name}"] for name in self.fields], dim=-1))
        x["hit_valid"] = inputs["hit_valid"]
        x["key_embed"], x["key_valid"] = x["hit_embed"], x["hit_valid"]
        if len(x["hit_valid"]) == 1 and x["hit_valid"].all():
            x["key_valid"] = None
        return x

    def encode(self, x: dict) -> dict:
        valid = x["key_valid"]
        mask = None if valid is None else (valid | ~valid.any(-1, keepdim=True)).unsqueeze(1)
        x["key_embed"] = x["hit_embed"] = self.encoder(x["key_embed"], x["key_embed"], mask)
        x["query_embed"] = self.queries.expand(len(x["hit_valid"]), -1, -1)
        return x

    def match(self, layer: dict, targets: dict) -> Tensor:
        total = None
        for task in self.tasks:
            if task.name in layer:
                for cost in task.cost(layer[task.name], targets).values():
                    if total is None:
                        total = cost
                    else:
                        total += cost  # in place
        rows = []
        for cost, valid in zip(total.detach().float().numpy(), targets["particle_valid"].numpy(), strict=True):
            count = int(valid.sum())
            assert valid[:count].all()
            assert math.isfinite(cost[:, :count].sum())
            chosen = linear_sum_assignment(cost[:, :count].T)[1].tolist()
            rows.append(chosen + [n for n in range(len(valid)) if n not in chosen])
        return torch.tensor(rows)


class Upstream(Model):
    decoder_class = UpstreamDecoder

    def __init__(self, *args: object, sorter: Sorter | None = None, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.sorter = sorter

    def forward(self, inputs: dict[str, Tensor]) -> Layers:
        x, order = self.embed({"inputs": inputs}, inputs), None
        if "query_mask" in inputs:  # dynamic queries
            x["query_mask"] = inputs["query_mask"]
        if self.sorter:
            x, order = self.sorter.sort(x)
        x, outputs = self.decoder(self.encode(x))
        final = outputs["final"] = {}
        for task in self.tasks:
            final[task.name] = task(x, outputs=final)
        if self.sorter:
            final[self.sorter.field] = {"order": order}
        return outputs

    def loss(self, outputs: Layers, targets: dict[str, Tensor]) -> Layers:
        if self.sorter:
            self.sorter.sort_targets(targets, outputs["final"][self.sorter.field]["order"])
        losses: Layers = {}
        for name, layer in outputs.items():
            index = self.match(layer, targets)
            event = torch.arange(len(index)).unsqueeze(-1)
            for task in self.tasks:
                if task.should_permute_outputs(name, layer):
                    for key in task.outputs:
                        layer[task.name][key] = layer[task.name][key][event, index]
            losses[name] = {
                task.name: task.loss(layer[task.name], targets, layer_outputs=layer)
                for task in self.tasks
                if task.name in layer
            }
        return losses

    def predict(self, outputs: Layers, query_mask: Tensor | None = None) -> Layers:
        return {
            name: {
                task.name: task.predict(layer[task.name], query_mask=query_mask)
                for task in self.tasks
                if task.name in layer
            }
            for name, layer in outputs.items()
        }

    def metrics(self, preds: Layers, targets: dict[str, Tensor]) -> Layers:
        return {
            name: {task.name: task.metrics(layer[task.name], targets) for task in self.tasks if task.name in layer}
            for name, layer in preds.items()
        }


class Fork(Model):
    decoder_class = ForkDecoder

    def __init__(self, *args: object, input_sort_field: str | None = None, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.input_sort_field = input_sort_field

    def forward(self, inputs: dict[str, Tensor]) -> Layers:
        x = self.embed(dict(inputs), inputs)
        if self.input_sort_field:  # sorted inside the encoder and restored behind it
            x[f"key_{self.input_sort_field}"] = x[f"hit_{self.input_sort_field}"]
        x, outputs = self.decoder(self.encode(x))
        outputs["final"] = {task.name: task(x) for task in self.tasks}
        return outputs

    def loss(self, outputs: Layers, targets: dict[str, Tensor]) -> Layers:
        losses: Layers = {}
        for name, layer in outputs.items():
            index = self.match(layer, targets)
            event = torch.arange(len(index)).unsqueeze(-1)
            for task in self.tasks:
                for key in task.outputs:
                    layer[task.name][key] = layer[task.name][key][event, index]
            losses[name] = {
                task.name: task.loss(layer[task.name], targets)
                for task in self.tasks
                if name == "final" or task.has_intermediate_loss
            }
        return losses

    def predict(self, outputs: Layers, query_mask: Tensor | None = None) -> Layers:
        assert query_mask is None
        return {
            name: {task.name: task.predict(layer[task.name]) for task in self.tasks} for name, layer in outputs.items()
        }

    def metrics(self, preds: Layers, targets: dict[str, Tensor]) -> Layers:
        return {"final": {task.name: task.metrics(preds["final"][task.name], targets) for task in self.tasks}}
