from collections.abc import Callable
from pathlib import Path

import torch


def test_unusable_checkpoint_ends_with_a_line(workplace: Path, hitpool: Callable, tiny: list[str]) -> None:
    torch.save({"state_dict": {"model.tasks.2.net.0.weight": torch.ones(2)}}, "query.ckpt")
    process = hitpool("fit", *tiny, "--trainer.max_epochs=1", "--model.regression_checkpoint=query.ckpt")
    output, _ = process.communicate(timeout=300)
    assert process.returncode != 0
    assert output.splitlines()[-1].startswith(
        "hitpool fit: checkpoint query.ckpt: expected one task with weights in raw"
    )
