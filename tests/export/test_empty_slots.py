"""Parameters of slots without a track are not compared, and everything else is."""

import copy
import math
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from hitpool.export import FORMATS, DeployedModel, check_events, write_model
from hitpool.export.parity import Case, compare, expected_of

EMPTY, HELD, MISSING = 0, 1, 2  # slots: no track, a track, a track whose probability is at the threshold
TRACK = torch.tensor([0.1, 0.9, 0.5])


def results(events: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    """Parameters [B, 3, 2], track probability [B, 3] and hit probability [B, 3, 5]."""
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(events, 3, 2, generator=generator),
        TRACK.expand(events, 3).clone(),
        torch.rand(events, 3, 5, generator=generator),
    )


def case(expected: tuple[Tensor, Tensor, Tensor], threshold: float = 0.5) -> Case:
    events = len(expected[0])
    hits, valid = torch.zeros(events, 5, 3), torch.ones(events, 5, dtype=torch.bool)
    return Case(hits, valid, expected, torch.zeros(events, dtype=torch.bool), threshold)


def changed(output: int, slot: int, value: float, event: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """Results with one number replaced."""
    got = results()
    got[output][event, slot] = value
    return got


def test_parameters_of_an_empty_slot_may_be_anything() -> None:
    agreement = compare(lambda *_: changed(0, EMPTY, 1e6), [case(results())] * 2, "onnx")
    assert (agreement.events, agreement.exempt, agreement.excused) == (8, 0, 0)
    assert (agreement.slots, agreement.empty) == (24, 8)
    assert agreement.worst == {"parameters": 0.0, "track_probability": 0.0, "hit_probability": 0.0}


@pytest.mark.parametrize(
    ("output", "slot", "value", "said"),
    [
        (0, HELD, 9.0, r"differs by [\d.]+ in parameters"),
        (0, MISSING, 9.0, r"differs by [\d.]+ in parameters"),
        (0, HELD, math.nan, "differs by nan in parameters"),
        (0, EMPTY, math.nan, "differs by nan in parameters"),
        (0, EMPTY, math.inf, "differs by inf in parameters"),
        (1, EMPTY, 0.11, r"differs by 0.009\d* in track_probability"),
        (1, EMPTY, math.nan, "differs by nan in track_probability"),
        (2, EMPTY, 2.0, r"differs by [\d.]+ in hit_probability"),
        (2, EMPTY, math.nan, "differs by nan in hit_probability"),
    ],
)
def test_everything_else_is_compared(output: int, slot: int, value: float, said: str) -> None:
    with pytest.raises(RuntimeError, match=f"onnx export: the exported model {said}, for hits of shape"):
        compare(lambda *_: changed(output, slot, value), [case(results())], "onnx")


def test_a_number_where_the_original_has_none_is_refused() -> None:
    with pytest.raises(RuntimeError, match="differs by nan in parameters"):
        compare(lambda *_: results(), [case(changed(0, EMPTY, math.nan))], "onnx")
    assert compare(lambda *_: changed(0, EMPTY, math.nan), [case(changed(0, EMPTY, math.nan))], "onnx").excused == 0


@pytest.mark.parametrize(("one", "other"), [(0.4999, 0.5001), (0.5001, 0.4999)])
def test_a_slot_that_one_of_the_two_calls_a_track_is_compared(one: float, other: float) -> None:
    expected, got = changed(1, EMPTY, one), changed(1, EMPTY, other)
    assert compare(lambda *_: got, [case(expected)], "onnx").empty == 3
    got[0][2, EMPTY] += 1.0
    with pytest.raises(RuntimeError, match=r"differs by [\d.]+ in parameters"):
        compare(lambda *_: got, [case(expected)], "onnx")


def test_without_any_track_all_slots_are_compared() -> None:
    with pytest.raises(RuntimeError, match=r"differs by [\d.e+]+ in parameters"):
        compare(lambda *_: changed(0, EMPTY, 1e6), [case(results(), threshold=0.0)], "onnx")
    assert compare(lambda *_: results(), [case(results(), threshold=0.0)], "onnx").empty == 0


@pytest.fixture(scope="module")
def batch(small_model: DeployedModel, data_set: Path) -> tuple[Tensor, Tensor]:
    events = check_events.real_events(data_set, small_model.columns)
    return next(batch for batch in check_events.batches(events, small_model.is_used) if len(batch[0]) > 7)


def with_tracks(model: DeployedModel, batch: tuple[Tensor, Tensor], share: float) -> DeployedModel:
    """The model, with a bias by which about so many slots hold a track."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        logits = model(*batch)[1].double().logit().flatten().sort(descending=True).values
        place = round(share * len(logits))
        edge = logits[0] + 1 if place == 0 else (logits[place - 1] + logits[place]) / 2
        model.valid_task.net.last.bias -= edge.float()
    return model


def test_slots_with_a_track_are_known(small_model: DeployedModel, batch: tuple[Tensor, Tensor]) -> None:
    (some,) = expected_of(with_tracks(small_model, batch, 0.5), [batch])
    assert some.threshold == 0.5
    share = (some.expected[1] >= 0.5).float().mean()
    assert 0.4 < share < 0.6
    (none,) = expected_of(with_tracks(small_model, batch, 0.0), [batch])
    assert none.threshold == 0.0


def test_a_track_probability_at_the_threshold_is_known(
    small_model: DeployedModel, batch: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = with_tracks(small_model, batch, 0.5)
    (before,) = expected_of(model, [batch])
    event = int((~before.exempt).nonzero()[0])
    monkeypatch.setattr("hitpool.export.parity.TRACK_THRESHOLD", float(before.expected[1][event].max()) + 5e-6)
    (after,) = expected_of(model, [batch])
    assert after.exempt[event]


def test_an_unstable_slot_exempts_no_event_if_it_is_empty(
    small_model: DeployedModel, batch: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that says something else in float64, in the slots without a track."""
    forward = DeployedModel.forward

    def unstable(self: DeployedModel, hits: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        parameters, track, hit = forward(self, hits, valid)
        shift = 1.0 if next(self.network.parameters()).dtype == torch.float64 else 0.0
        return torch.where((track < 0.5).unsqueeze(-1), parameters + shift, parameters), track, hit

    model = with_tracks(small_model, batch, 0.5)
    (before,) = expected_of(model, [batch])
    monkeypatch.setattr(DeployedModel, "forward", unstable)
    (after,) = expected_of(model, [batch])
    assert after.exempt.tolist() == before.exempt.tolist()
    monkeypatch.setattr("hitpool.export.parity.TRACK_THRESHOLD", 0.0)
    (all_slots,) = expected_of(model, [batch])
    assert all_slots.exempt.sum() > before.exempt.sum()


@pytest.mark.parametrize(("slots", "refused"), [("empty", False), ("held", True)])
def test_no_file_is_written_if_a_track_differs(
    small_model: DeployedModel,
    batch: tuple[Tensor, Tensor],
    data_set: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    slots: str,
    refused: bool,
) -> None:
    model, path = with_tracks(small_model, batch, 0.5), tmp_path / "model.pt2"
    kind = FORMATS["export"].load_module()
    load = kind.load

    def load_corrupted(file: Path, threads: int = 1):
        run, metadata = load(file, threads)

        def corrupted(hits: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            parameters, track, hit = run(hits, valid)
            chosen = (track >= 0.5) == (slots == "held")
            return torch.where(chosen.unsqueeze(-1), parameters + 0.5, parameters), track, hit

        return corrupted, metadata

    monkeypatch.setattr(kind, "load", load_corrupted)
    events = check_events.real_events(data_set, model.columns)
    if refused:
        with pytest.raises(RuntimeError, match=r"differs by .* in parameters"):
            write_model(model, path, "export", events=events)
        assert list(tmp_path.iterdir()) == []
        return
    agreement = write_model(model, path, "export", events=events)
    assert 0.3 < agreement.empty / agreement.slots < 0.7
    with safe_open(f"{path}.check.safetensors", "pt") as stored:
        assert stored.metadata()["track_threshold"] == "0.5"
