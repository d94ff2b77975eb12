"""Muons in the generic detector of ACTS, with the result of its Kalman filter; needs `pip install "hitpool[acts]"`."""

from hitpool.acts.generate import acts

__all__ = ["acts"]
