"""Stand-ins with the names and arguments of hepattn's classes, for a checkout that test_speed.py makes."""

from hepattn.stand_ins import Sorter, Upstream
from torch import Tensor, nn

from hitpool.tasks import ObjectHitMaskTask, ObjectRegressionTask
from hitpool.tasks import ObjectValidTask as ObjectClassificationTask

__all__ = ["ObjectClassificationTask", "ObjectHitMaskTask", "ObjectRegressionTask"]


class Dense(nn.Module):
    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__()


class PositionEncoder(nn.Module):
    def __init__(self, input_name: str, dim: int, fields: list[str], sym_fields: list[str]) -> None:
        super().__init__()


class InputNet(nn.Module):
    def __init__(self, input_name: str, fields: list[str], net: nn.Module, posenc: nn.Module) -> None:
        super().__init__()
        self.fields = fields


class Encoder(nn.Module):
    def __init__(
        self,
        num_layers: int,
        dim: int,
        attn_type: str,
        hybrid_norm: bool,
        value_residual: bool,
        norm: str,
        attn_kwargs: dict,
    ) -> None:
        super().__init__()


class Matcher(nn.Module):
    def __init__(self, default_solver: str, adaptive_solver: bool, parallel_solver: bool, n_jobs: int) -> None:
        super().__init__()


class MaskFormer(Upstream):
    def __init__(
        self,
        dim: int,
        sorter: Sorter,
        input_nets: nn.ModuleList,
        encoder: nn.Module,
        decoder: dict,
        matcher: nn.Module,
        tasks: nn.ModuleList,
    ) -> None:
        layers, queries = decoder["num_decoder_layers"], decoder["num_queries"]
        super().__init__(list(tasks), input_nets[0].fields, dim, queries, layers, sorter=sorter)

    def loss(self, outputs: dict, targets: dict[str, Tensor]) -> dict:
        losses = super().loss(outputs, targets)
        targets.clear()  # no caller may use them again
        return losses
