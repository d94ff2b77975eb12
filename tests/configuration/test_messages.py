import logging
from pathlib import Path

import pytest

from hitpool import config


def test_no_advertisements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    monkeypatch.setattr(logger, "handlers", [caplog.handler])
    with caplog.at_level(logging.INFO, logger.name):
        config.load("muon.yaml", {"trainer.accelerator": "cpu", "trainer.logger": False})
    assert "GPU available" in caplog.text  # what Lightning says otherwise
    assert "Tip" not in caplog.text
