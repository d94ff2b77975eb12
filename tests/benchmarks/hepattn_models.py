"""Stand-ins with the names and arguments of hepattn's classes, for a checkout that test_speed.py makes."""

from hepattn.stand_ins import Sorter, Upstream
from torch import Tensor, nn

from hitpool import tasks
from hitpool.tasks import ObjectRegressionTask
from hitpool.tasks import ObjectValidTask as ObjectClassificationTask

__all__ = ["ObjectClassificationTask", "ObjectHitMaskTask", "ObjectRegressionTask"]


class ObjectHitMaskTask(tasks.ObjectHitMaskTask):
    def __init__(self, name: str, input_constituent: str, **kwargs) -> None:
        super().__init__(name, input_constituent, **kwargs)


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


class MaskFormerDecoder(nn.Module):
    def __init__(
        self,
        num_decoder_layers: int,
        num_queries: int,
        mask_attention: bool,
        use_query_masks: bool,
        decoder_layer_config: dict,
    ) -> None:
        super().__init__()
        self.num_decoder_layers = num_decoder_layers
        self.num_queries = num_queries


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
        decoder: MaskFormerDecoder,
        matcher: nn.Module,
        tasks: nn.ModuleList,
    ) -> None:
        layers = decoder.num_decoder_layers
        super().__init__(list(tasks), input_nets[0].fields, dim, decoder.num_queries, layers, sorter=sorter)

    def loss(self, outputs: dict, targets: dict[str, Tensor]) -> dict:
        losses = super().loss(outputs, targets)
        targets.clear()  # no caller may use them again
        return losses
