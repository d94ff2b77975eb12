"""The second phase of `hitpool fit`: its checkpoint, its predictions, and what a repeat does."""

import re
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from lightning.pytorch import callbacks

from hitpool.cli import main
from hitpool.weights import read_weights

from .conftest import TINY

FIT = ["fit", *TINY, "--trainer.max_epochs", "1", "--threads", "1"]


def response(checkpoint: Path) -> dict[str, torch.Tensor]:
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    return {name: value for name, value in state.items() if ".response." in name}


def trained(checkpoint: Path) -> bool:
    return bool(response(checkpoint)["model.tasks.2.response.trained"])


def test_the_best_checkpoint_has_the_response_and_is_not_trained_twice(
    workplace: Path, capsys: pytest.CaptureFixture
) -> None:
    main(FIT)
    report = r"second phase: \d+ hits, \d+ steps, validation loss .* tracks described .* validation loss"
    assert re.search(report, capsys.readouterr().out)
    run = workplace / "runs" / "muon" / "version_0"
    assert trained(run / "ckpts" / "best.ckpt")
    assert not trained(run / "ckpts" / "last.ckpt")
    first = response(run / "ckpts" / "best.ckpt")
    main([*FIT, "--ckpt_path", "last"])
    assert "second phase: done before" in capsys.readouterr().out
    for name, value in response(run / "ckpts" / "best.ckpt").items():
        assert torch.equal(value, first[name])
    main(["predict", "--trainer.callbacks.1.class_path=hitpool.evaluation.PredictionWriter"])
    with h5py.File(run / "predictions.h5") as file:
        preds = file["0/preds/final/parameter_regression"]
        for field in ("eta", "phi", "pt", "qpt"):
            assert (preds[f"track_truthMuon_{field}_error"][:] > 0).all()
        for pair in ("qpt_eta", "qpt_phi", "eta_phi"):
            assert (np.abs(preds[f"track_{pair}_correlation"][:]) < 1).all()
        logits = file["0/outputs/final/track_hit_valid/track_hit_logit"][:]
        probability = file["0/preds/final/track_hit_valid/track_hit_valid_prob"][:]
        np.testing.assert_allclose(probability, 1 / (1 + np.exp(-logits)), rtol=1e-5)
        assert not any("late" in name for name in file["0/outputs/final/parameter_regression"])


def test_the_head_of_a_pooled_regression_is_refined_once(workplace: Path, capsys: pytest.CaptureFixture) -> None:
    parts = ("track_fit", "response", "hit_response")
    alone = [f"--model.model.tasks.2.{part}=null" for part in parts]
    main([*FIT, *alone])
    assert "steps in" in capsys.readouterr().out
    best = workplace / "runs" / "muon" / "version_0" / "ckpts" / "best.ckpt"
    first = torch.load(best, weights_only=True)
    assert first["before_second_phase"]
    assert all(".regression_head." in name for name in first["before_second_phase"])
    main([*FIT, "--ckpt_path", "last"])
    assert "second phase: done before" in capsys.readouterr().out
    for name, value in torch.load(best, weights_only=True)["state_dict"].items():
        assert torch.equal(value, first["state_dict"][name]), name


def test_stopped_in_the_second_phase_it_is_repeated(
    workplace: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("hitpool.training.module.refine", stop)
        with pytest.raises(SystemExit, match="130"):
            main(FIT)
    assert (
        "stopped in the second phase; continue with: hitpool fit --name muon --checkpoint last"
        in capsys.readouterr().out
    )
    best = workplace / "runs" / "muon" / "version_0" / "ckpts" / "best.ckpt"
    assert not trained(best)
    main([*FIT, "--ckpt_path", "last"])
    repeated = response(best)
    assert trained(best)
    main(FIT)  # undisturbed
    for name, value in response(workplace / "runs" / "muon" / "version_1" / "ckpts" / "best.ckpt").items():
        assert torch.equal(repeated[name], value), name


def test_without_a_validation_the_last_checkpoint_is_refined_and_continued_as_it_was(workplace: Path) -> None:
    constant = [f"--model.lrs_config.{part}=1e-3" for part in ("initial", "max", "end")]  # whatever the length
    options = [*FIT, *constant, "--trainer.limit_val_batches", "0", "--name"]
    main([*options, "straight", "--trainer.max_epochs", "2"])
    main([*options, "stopped"])
    last = workplace / "runs" / "stopped" / "version_0" / "ckpts" / "last.ckpt"
    assert trained(last)
    main([*options, "stopped", "--ckpt_path", "last", "--trainer.max_epochs", "2"])
    states = [
        torch.load(workplace / "runs" / name / "version_0" / "ckpts" / "last.ckpt", weights_only=True)["state_dict"]
        for name in ("straight", "stopped")
    ]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@pytest.mark.skipif(not hasattr(callbacks, "EMAWeightAveraging"), reason="before Lightning 2.6")
def test_averaged_weights_are_refined_and_tested(workplace: Path, capsys: pytest.CaptureFixture) -> None:
    main([*FIT, "--trainer.callbacks+=lightning.pytorch.callbacks.EMAWeightAveraging"])
    run = workplace / "runs" / "muon" / "version_0"
    of_fit = (run / "results.json").read_text()
    capsys.readouterr()
    main(["test"])
    assert (run / "results.json").read_text() == of_fit
    main(["test", "--ckpt_path", f"{run}/ckpts/last.ckpt"])
    assert (
        "the response of its track fit is not trained; the parameters are those of the pooled"
        in capsys.readouterr().err
    )


def test_a_refined_checkpoint_gives_its_regression_to_a_new_training(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main(FIT)
    read: list[str] = []
    monkeypatch.setattr("hitpool.training.transfer.read_weights", lambda path: read.append(path) or read_weights(path))
    main([*FIT, "--name", "next", "--model.regression_checkpoint", "runs/muon/version_0/ckpts/best.ckpt"])
    assert trained(workplace / "runs" / "next" / "version_0" / "ckpts" / "best.ckpt")
    assert read == ["runs/muon/version_0/ckpts/best.ckpt"]


def test_a_model_without_a_part_for_it_is_refused_before_the_training(
    workplace: Path, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*FIT, "--config", "muon_query.yaml", "--model.refinement.epochs", "5"])
    assert "expected one WeightedPoolingObjectHitRegressionTask" in f"{stop.value.code}{capsys.readouterr().err}"
    assert not (workplace / "runs").exists()


def test_it_can_be_left_out(workplace: Path, capsys: pytest.CaptureFixture) -> None:
    main([*FIT, "--model.refinement.epochs", "0"])
    assert "second phase" not in capsys.readouterr().out
    assert not trained(workplace / "runs" / "muon" / "version_0" / "ckpts" / "best.ckpt")


def test_it_is_made_up_for_from_a_checkpoint_without_a_run(workplace: Path, capsys: pytest.CaptureFixture) -> None:
    main([*FIT, "--name", "without", "--model.refinement.epochs", "0"])
    first = (workplace / "runs" / "without" / "version_0" / "ckpts" / "last.ckpt").rename(workplace / "mailed.ckpt")
    capsys.readouterr()
    main([*FIT, "--name", "with", "--checkpoint", str(first), "--model.refinement.epochs", "5"])
    assert "nothing was trained: the weights of" in capsys.readouterr().out
    assert not trained(first)
    last = workplace / "runs" / "with" / "version_0" / "ckpts" / "last.ckpt"
    assert trained(last)
    before, after = (torch.load(path, weights_only=True)["state_dict"] for path in (first, last))
    assert all(torch.equal(value, after[name]) for name, value in before.items() if "response" not in name)
    main(["test", "--name", "with", "--checkpoint", "last"])


def test_without_assigned_hits_there_is_no_response_of_the_hits(workplace: Path, capsys: pytest.CaptureFixture) -> None:
    main([*FIT, "--model.model.tasks.2.assignment_threshold", "1"])
    assert "the response of the hits is not trained, because no hit is assigned" in capsys.readouterr().out
    best = torch.load(workplace / "runs" / "muon" / "version_0" / "ckpts" / "best.ckpt", weights_only=True)[
        "state_dict"
    ]
    assert not best["model.tasks.2.hit_response.trained"]
