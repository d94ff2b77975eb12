"""Position encoding of hits by the tracks that they could belong to."""

from collections.abc import Mapping, Sequence

import torch
from scipy.constants import speed_of_light
from torch import Tensor, nn

from hitpool.nn.fields import stack_fields
from hitpool.nn.precision import precise_dtype

FIELDS = ("r", "z", "cos_phi", "sin_phi")
NEAREST = 1e-3  # m, distance from the beam line below which a hit has no direction


class HelixPositionEncoder(nn.Module):
    r"""Sines and cosines of the directions that a track through a hit has at the beam line, for chosen hypotheses.

    A track of charge over transverse momentum $\kappa$ that comes from the beam line and crosses radius r at the angle
    $\phi$ began at

    $$\phi_0 = \phi + \arcsin\frac{0.3\, B\, \kappa\, r}{2},$$

    r in m, $\kappa$ in 1/GeV, B in T; one that came from $z_0$ has $\eta = \mathrm{asinh}((z - z_0) / r)$ if it is
    straight. Hits of one track have the same $\phi_0$ and $\eta$ for the hypotheses that are near to the truth, which
    attention finds by a product: a Hough transform in front of a transformer. A linear layer, which is trained, makes
    D features of the sines and cosines at all frequencies.

    Args:
        input_name: Kind of input, such as `hit`; reads `<input_name>_r`, `_z` (m), `_cos_phi`, `_sin_phi`.
        dim: Features D of the encoding.
        field: Magnetic field B in T, along z.
        qpt: Hypotheses of q / pT in 1/GeV.
        z0: Hypotheses of z0 in m.
        phi_frequencies: Frequencies of $\phi_0$, whole numbers, because it is an angle.
        eta_frequencies: Frequencies of $\eta$.

    Raises:
        ValueError: A list is empty.

    Source: Hough, Machine analysis of bubble chamber pictures (1959), for the transform.

    Example:
        >>> encoder = HelixPositionEncoder("hit", 8, field=2.0, qpt=[0.0], z0=[0.0], phi_frequencies=[1])
        >>> values = {"r": [0.1, 1.0], "z": [0.2, 2.0], "cos_phi": [0.6, 0.6], "sin_phi": [0.8, 0.8]}
        >>> first, second = encoder({f"hit_{name}": torch.tensor([value]) for name, value in values.items()})[0]
        >>> torch.allclose(first, second)  # on a straight line from the origin
        True
    """

    hypotheses: Tensor
    origins: Tensor
    phi_frequencies: Tensor
    eta_frequencies: Tensor

    def __init__(
        self,
        input_name: str,
        dim: int,
        field: float,
        qpt: Sequence[float],
        z0: Sequence[float],
        phi_frequencies: Sequence[int] = (2, 5, 12, 30),
        eta_frequencies: Sequence[float] = (1.0, 3.0, 9.0, 27.0),
    ) -> None:
        super().__init__()
        lists = {"qpt": qpt, "z0": z0, "phi_frequencies": phi_frequencies, "eta_frequencies": eta_frequencies}
        if empty := [name for name, values in lists.items() if len(values) == 0]:
            raise ValueError(f"HelixPositionEncoder: {', '.join(empty)} must have at least one value")
        self.input_name = input_name
        self.dim = dim
        sine = torch.tensor(qpt, dtype=torch.float64) * (1e-9 * speed_of_light * field / 2)  # GeV to 1/m
        self.register_buffer("hypotheses", sine.float(), persistent=False)  # [J], of asin, 1/m
        self.register_buffer("origins", torch.tensor(z0), persistent=False)  # [I]
        self.register_buffer("phi_frequencies", torch.tensor(phi_frequencies).float(), persistent=False)
        self.register_buffer("eta_frequencies", torch.tensor(eta_frequencies).float(), persistent=False)
        size = len(qpt) * len(phi_frequencies) + len(z0) * len(eta_frequencies)
        self.linear = nn.Linear(2 * size, dim)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Encode all hits of a batch.

        Args:
            inputs: `<input_name>_<field>` [B, M] for each field, and `<input_name>_valid` bool [B, M]; what padded hits
                hold has no influence.

        Returns:
            The encoding [B, M, D].

        Raises:
            TypeError: The encoder was brought to a type below float32.
        """
        values = stack_fields(inputs, self.input_name, FIELDS, inputs.get(f"{self.input_name}_valid"))
        values = values.to(precise_dtype(self, "HelixPositionEncoder"))  # [B, M, 4]
        r, z, cosine, sine = values.unsqueeze(-1).unbind(-2)  # [B, M, 1]
        phi0 = torch.atan2(sine, cosine) + torch.asin((self.hypotheses * r).clamp(-1, 1))  # [B, M, J]
        eta = torch.asinh((z - self.origins) / r.clamp(min=NEAREST))  # [B, M, I]
        phases = [
            (phi0.unsqueeze(-1) * self.phi_frequencies).flatten(-2),
            (eta.unsqueeze(-1) * self.eta_frequencies).flatten(-2),
        ]
        phase = torch.cat(phases, dim=-1)
        return self.linear(torch.cat([phase.sin(), phase.cos()], dim=-1))
