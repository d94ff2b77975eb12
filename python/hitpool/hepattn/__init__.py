"""Configurations of hepattn, read as configurations of hitpool; hepattn itself is neither needed nor imported."""

from hitpool.hepattn.frozen_encoder import freeze_around_task
from hitpool.hepattn.translation import translate, uses_hepattn

__all__ = ["freeze_around_task", "translate", "uses_hepattn"]
