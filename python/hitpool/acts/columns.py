"""Columns of the data sets that are made with ACTS."""

TRUTH_LINK = "truthLink"
HIT_FEATURES = (
    "x",
    "y",
    "z",
    "volume",
    "layer",
    "module",
    "loc0_x",
    "loc0_y",
    "loc0_z",
    "loc1_x",
    "loc1_y",
    "loc1_z",
    "var_loc0",
    "var_loc1",
    TRUTH_LINK,
)
"""Measured point in the global frame (mm); identifiers of ACTS; directions of the two measured coordinates in the
global frame and their variances (mm^2); row of the particle in `tracks`, -1 if there is none. The row of a hit is the
index of its measurement in ACTS."""

MEASURED = ("x", "y", "z", "volume", "layer", "module", "var_loc0", "var_loc1")
"""What a fit by ACTS needs of a hit: it knows the directions of its modules."""

TRUTH_FEATURES = ("pt", "eta", "phi", "q", "d0", "z0")
"""GeV, rad, mm. At the production vertex; d0 and z0 at the point of closest approach to the beam line."""

KALMAN_FEATURES = (
    *(f"kalman_{name}" for name in TRUTH_FEATURES),
    "kalman_sigma_qpt",
    "kalman_sigma_eta",
    "kalman_sigma_phi",
    "kalman_sigma_d0",
    "kalman_sigma_z0",
)
"""Estimate of the Kalman filter at the point of closest approach to the beam line, and its standard deviations;
NaN where the fit failed."""

TRACK_FEATURES = (*TRUTH_FEATURES, *KALMAN_FEATURES)

CKF_FEATURES = tuple(name.replace("kalman_", "ckf_") for name in KALMAN_FEATURES)
"""The same of the track that the combinatorial Kalman filter found; NaN where it found none."""

BUSY_TRACK_FEATURES = (*TRACK_FEATURES, "pdg", *CKF_FEATURES)
"""With the PDG code of the particle."""

UNITS = {
    **dict.fromkeys(("x", "y", "z", "d0", "z0"), "mm"),
    **dict.fromkeys(("var_loc0", "var_loc1"), "mm^2"),
    "pt": "GeV",
    "phi": "rad",
    "q": "e",
}
