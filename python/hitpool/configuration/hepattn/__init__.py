"""Configurations of hepattn, read as configurations of hitpool; hepattn itself is neither needed nor imported."""

from hitpool.configuration.hepattn.translation import translate, uses_hepattn

__all__ = ["translate", "uses_hepattn"]
