"""Short trainings, and whether one that was continued is the same as an undisturbed one."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor

OPTIONS = [
    "--data.num_train=24",  # 3 batches
    "--trainer.max_epochs=2",
    "--trainer.log_every_n_steps=1",
    "--trainer.enable_progress_bar=false",
    "--trainer.callbacks=null",
    "--model.model.encoder.dropout=0.1",
]
CONSTANT = [f"--model.lrs_config.{name}=1e-3" for name in ("initial", "max", "end")]  # else max_steps changes it


class EachBatch(Callback):
    """Writes a checkpoint after each batch, also inside an accumulation."""

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        number = trainer.fit_loop.total_batch_idx + 1
        trainer.save_checkpoint(Path(trainer.default_root_dir) / "batches" / f"{number}.ckpt")


def differences(found: Any, expected: Any, name: str = "") -> list[str]:
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        return [line for key in expected for line in differences(found[key], expected[key], f"{name}.{key}")]
    if isinstance(expected, list):
        assert len(found) == len(expected)
        pairs = enumerate(zip(found, expected, strict=True))
        return [line for index, (one, other) in pairs for line in differences(one, other, f"{name}.{index}")]
    same = torch.equal(found, expected) if isinstance(expected, Tensor) else found == expected
    return [] if same else [name]


def check(run: Path, straight: Path) -> None:
    found, expected = (torch.load(path / "ckpts" / "last.ckpt", weights_only=True) for path in (run, straight))
    for key in ("epoch", "global_step", "state_dict", "optimizer_states", "lr_schedulers", "metrics_rows"):
        assert (changed := differences(found[key], expected[key], key)) == [], changed
    assert (run / "metrics.csv").read_text() == (straight / "metrics.csv").read_text()
