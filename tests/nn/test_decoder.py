import pytest
import torch
from torch import Tensor, nn

from hitpool.nn import DecoderLayerConfig, MaskFormerDecoder
from hitpool.tasks import ObjectHitMaskTask


class FixedMask(nn.Module):
    """Task whose attention mask is given."""

    name = "mask"

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.mask = mask

    def should_run_at_layer(self, layer_index: int) -> bool:
        return True

    def forward(self, x: dict[str, Tensor], outputs: dict | None = None) -> dict[str, Tensor]:
        return {"logit": x["query_embed"].sum(-1)}

    def attn_mask(self, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"hit": self.mask}

    def query_mask(self, outputs: dict[str, Tensor]) -> None:
        return None


def decode(mask: Tensor, hits: Tensor, valid: Tensor, **options: object) -> tuple[dict[str, Tensor], dict]:
    torch.manual_seed(3)
    config = DecoderLayerConfig(dim=16, num_heads=4, bidirectional_ca=options.pop("bidirectional_ca", True))
    decoder = MaskFormerDecoder(1, mask.shape[1], config, **options)
    return decoder({"hit_embed": hits, "hit_valid": valid}, nn.ModuleList([FixedMask(mask)]))


@pytest.fixture
def hits() -> Tensor:
    return torch.randn(2, 6, 16, generator=torch.Generator().manual_seed(0))


def test_masked_hits_have_no_influence_on_a_query(hits: Tensor) -> None:
    valid = torch.ones(2, 6, dtype=torch.bool)
    mask = torch.tensor([True, True, False, False, False, False]).expand(2, 1, 6)
    x, _ = decode(mask, hits, valid)
    changed = torch.cat([hits[:, :2], torch.randn(2, 4, 16)], dim=1)
    y, _ = decode(mask, changed, valid)
    torch.testing.assert_close(x["query_embed"], y["query_embed"])
    free, _ = decode(mask, changed, valid, mask_attention=False)
    assert (free["query_embed"] - x["query_embed"]).abs().max() > 1e-3


def test_query_without_hits_attends_to_all_valid_hits(hits: Tensor) -> None:
    valid = torch.arange(6) < torch.tensor([[6], [3]])
    nothing, _ = decode(torch.zeros(2, 3, 6, dtype=torch.bool), hits, valid)
    everything, _ = decode(torch.ones(2, 3, 6, dtype=torch.bool), hits, valid)
    torch.testing.assert_close(nothing["query_embed"], everything["query_embed"])


def test_hits_are_updated_only_if_wanted(hits: Tensor) -> None:
    valid, mask = torch.ones(2, 6, dtype=torch.bool), torch.ones(2, 3, 6, dtype=torch.bool)
    assert torch.equal(decode(mask, hits, valid, bidirectional_ca=False)[0]["hit_embed"], hits)
    assert not torch.equal(decode(mask, hits, valid)[0]["hit_embed"], hits)


def test_tasks_run_in_front_of_each_layer_on_the_learned_queries(hits: Tensor) -> None:
    valid, mask = torch.ones(2, 6, dtype=torch.bool), torch.ones(2, 3, 6, dtype=torch.bool)
    _, outputs = decode(mask, hits, valid)
    torch.manual_seed(3)
    queries = MaskFormerDecoder(1, 3, DecoderLayerConfig(dim=16, num_heads=4)).queries
    assert list(outputs) == ["layer_0"]
    torch.testing.assert_close(outputs["layer_0"]["mask"]["logit"], queries.sum(-1).expand(2, -1))


@pytest.mark.parametrize("bidirectional", [False, True])
def test_hits_are_projected_again_only_if_they_changed(hits: Tensor, bidirectional: bool) -> None:
    torch.manual_seed(3)
    decoder = MaskFormerDecoder(3, 2, DecoderLayerConfig(dim=16, num_heads=4, bidirectional_ca=bidirectional))
    terms = {"losses": {"mask_bce": 1.0}, "costs": {"mask_bce": 1.0}}
    names = {"input_hit": "hit", "input_object": "query", "output_object": "track", "target_object": "particle"}
    task = ObjectHitMaskTask("mask", **names, **terms, dim=16)
    calls = []
    task.hit_net.register_forward_hook(lambda *call: calls.append(call))
    x, outputs = decoder({"hit_embed": hits, "hit_valid": torch.ones(2, 6, dtype=torch.bool)}, nn.ModuleList([task]))
    final = task(x)["track_hit_logit"]
    assert len(calls) == (4 if bidirectional else 1)
    assert len(outputs) == 3
    expected = task.object_net(x["query_embed"]) @ task.hit_net(x["hit_embed"]).mT
    torch.testing.assert_close(final, expected)
