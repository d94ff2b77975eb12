"""Configurations of hepattn, read as configurations of hitpool; hepattn itself is neither needed nor imported."""

from hitpool.configuration.hepattn.frozen_encoder import freeze_around_task
from hitpool.configuration.hepattn.translation import translate, translation, uses_hepattn

__all__ = ["freeze_around_task", "translate", "translation", "uses_hepattn"]
