import logging
import re
from pathlib import Path

import pytest
import yaml

from hitpool import config
from hitpool.configuration.files import find


def test_no_advertisements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    monkeypatch.setattr(logger, "handlers", [caplog.handler])
    with caplog.at_level(logging.INFO, logger.name):
        config.load("muon.yaml", {"trainer.accelerator": "cpu", "trainer.logger": False})
    assert "GPU available" in caplog.text  # what Lightning says otherwise
    assert "Tip" not in caplog.text


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("model", {"optimizers": {}}, "there is no option 'model.optimizers' (did you mean 'model.optimizer'?)"),
        (
            "model.model.init_args.encoder.init_args",
            {"norms": {}},
            "model.model.encoder: Encoder has no option 'norms'",
        ),
        (
            "model.model.init_args.tasks.init_args.modules.0.init_args",
            {"losss": {}},
            "model.model.tasks.0: ObjectValidTask has no option 'losss' (did you mean 'losses'?)",
        ),
        (
            "model.model.init_args.encoder.init_args",
            {"num_heads": 5},
            "Attention: dim = 32 is not a multiple of num_heads = 5",
        ),
        ("data", {"batch_size": 0}, "data.batch_size: expected at least 1, got 0"),
    ],
)
def test_errors_name_the_file(tmp_path: Path, place: str, value: dict[str, object], message: str) -> None:
    content = section = yaml.safe_load(find("muon.yaml").read_text())
    for key in place.split("."):
        section = section[int(key) if isinstance(section, list) else key]
    section |= value
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ValueError, match=f"^{re.escape(f'{tmp_path}/mine.yaml: {message}')}"):
        config.load(tmp_path / "mine.yaml")
