"""What a muon meets between the vertex and the spectrometer."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Geometry:
    """What a track meets before the spectrometer, as far as the fit needs it.

    Args:
        solenoid_field: In T, along z.
        solenoid: Radius and half-length of the solenoid in m.
        calorimeter_in: Radius and half-length in m at which the calorimeter begins.
        calorimeter_out: Radius and half-length in m at which it ends.
        radiation_lengths: Material of the calorimeter at eta = 0 along a radius, and what comes on top at |eta| >= 1.5.
        energy_loss: Of a muon in the calorimeter, in GeV.
        vertex_spread: Spread of the vertex along z in m.

    Raises:
        ValueError: A number is not positive.
    """

    solenoid_field: float = 2.0
    solenoid: tuple[float, float] = (1.15, 2.65)
    calorimeter_in: tuple[float, float] = (1.5, 3.7)
    calorimeter_out: tuple[float, float] = (4.25, 6.7)
    radiation_lengths: tuple[float, float] = (120.0, 40.0)
    energy_loss: float = 3.5
    vertex_spread: float = 0.045

    def __post_init__(self) -> None:
        numbers = {"energy_loss": self.energy_loss, "solenoid": min(self.solenoid), "vertex_spread": self.vertex_spread}
        numbers |= {"radiation_lengths": min(self.radiation_lengths), "calorimeter_in": min(self.calorimeter_in)}
        numbers["calorimeter_out"] = min(self.calorimeter_out)
        if wrong := [name for name, value in numbers.items() if not value > 0]:
            raise ValueError(f"ToroidFit: geometry: {', '.join(wrong)} must be positive")

    def numbers(self) -> list[float]:
        """All of them, as `hitpool.ops.toroid_fit` takes them, [11]."""
        lengths = [*self.solenoid, *self.calorimeter_in, *self.calorimeter_out]
        return [self.solenoid_field, *lengths, *self.radiation_lengths, self.energy_loss, self.vertex_spread]

    @classmethod
    def of(cls, numbers: list[float]) -> "Geometry":
        """The geometry that `numbers` describes.

        Args:
            numbers: What it returned, [11].
        """
        field, a, b, c, d, e, f, central, forward, loss, spread = numbers
        return cls(field, (a, b), (c, d), (e, f), (central, forward), loss, spread)

    def at_vertex(self, kappa: Tensor) -> Tensor:
        """Charge over momentum at the vertex.

        Args:
            kappa: The same behind the calorimeter in 1/GeV, any shape.
        """
        return kappa.sign() / (1 / kappa.abs().clamp(min=1e-4) + self.energy_loss)

    def kinks(self, dip: Tensor) -> Tensor:
        """Transverse places of the two kinks that stand for the scattering in the calorimeter.

        Args:
            dip: Dip angles in rad, [T].

        Returns:
            [T, 2] in m: the middle of the path in the calorimeter -+ its length / sqrt(12).
        """
        tan = dip.tan().abs().clamp(min=1e-6)
        (radius_in, length_in), (radius_out, length_out) = self.calorimeter_in, self.calorimeter_out
        start, end = (length_in / tan).clamp(max=radius_in), (length_out / tan).clamp(max=radius_out)
        middle, half = (start + end) / 2, (end - start) / math.sqrt(12)
        return torch.stack([middle - half, middle + half], dim=1)

    def scattering(self, dip: Tensor, momentum: Tensor) -> Tensor:
        """Spread of each kink: 13.6 MeV / p sqrt(X) (1 + 0.038 ln X), the plane angle, divided by sqrt(2).

        Args:
            dip: Dip angles in rad, [T].
            momentum: In GeV, [T]; at least 1 is used.

        Returns:
            [T] in rad.

        Source: Particle Data Group, Passage of particles through matter, multiple scattering.
        """
        cos, sin = dip.cos(), dip.sin().abs()
        central, forward = self.radiation_lengths
        share = torch.asinh(sin / cos).clamp(max=1.5) / 1.5
        material = (central + forward * share) / torch.maximum(cos, sin)
        angle = 0.0136 / momentum.clamp(min=1.0) * material.sqrt() * (1 + 0.038 * material.log())
        return angle / math.sqrt(2)
