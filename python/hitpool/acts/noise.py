"""Hits that are lost, and hits that no particle left, before the digitisation."""

from __future__ import annotations

import acts
import acts.examples
import acts.fatras
import numpy as np

from hitpool.acts.detector import Detector

LOST = 0.03  # of the hits
NOISE = (0.1, 0.3)  # noise hits per remaining hit, uniform, one number for each event
MOMENTUM = acts.Vector4(0.0, 0.0, 1.0, 1.0)  # of what left a noise hit; the measurement does not depend on it
TRUE_HITS = "true_simhits"  # what Fatras has to write


class Noise(acts.examples.IAlgorithm):
    """Reads `TRUE_HITS` and writes `simhits`, the ones that are digitised.

    A noise hit lies in the layer of a true hit of the event, drawn at random, so that a layer has noise in proportion
    to its hits; in the layer every module is as probable as another, in the module every place. Its particle has a
    barcode that no particle of the event has.

    Args:
        detector: Where the modules are.
        rng: Source of random numbers.
    """

    def __init__(self, detector: Detector, rng: np.random.Generator) -> None:
        acts.examples.IAlgorithm.__init__(self, "Noise", acts.logging.WARNING)
        self.detector = detector
        self.rng = rng
        self.input = acts.examples.ReadDataHandle(self, acts.examples.SimHitContainer, "TrueHits")
        self.input.initialize(TRUE_HITS)
        self.output = acts.examples.WriteDataHandle(self, acts.examples.SimHitContainer, "Hits")
        self.output.initialize("simhits")

    def execute(self, context: acts.examples.AlgorithmContext) -> acts.examples.ProcessCode:
        """Takes hits from one event and adds others."""
        hits = list(self.input(context.eventStore))
        kept = [hit for hit, lost in zip(hits, self.rng.random(len(hits)) < LOST, strict=True) if not lost]
        container = acts.examples.SimHitContainer()
        for hit in kept:
            container.insert(hit)
        count = round(self.rng.uniform(*NOISE) * len(kept))
        layers = self.rng.integers(len(kept), size=count)
        for i, (like, place) in enumerate(zip(layers, self.rng.random((count, 3)).tolist(), strict=True)):
            container.insert(self._hit(i, kept[like].geometryId, *place))
        self.output(context, container)
        return acts.examples.ProcessCode.SUCCESS

    def _hit(
        self, i: int, like: acts.GeometryIdentifier, module: float, along: float, across: float
    ) -> acts.examples.SimHit:
        """Noise hit i in the layer of another hit; the place is given by numbers from 0 to 1."""
        modules = self.detector.modules_of_layer(like)
        identifier = modules[int(module * len(modules))]
        barcode = acts.fatras.Barcode()
        barcode.vertexPrimary, barcode.vertexSecondary, barcode.particle = 1, 1, i + 1
        point = acts.Vector4(*self.detector.point(identifier, along, across), 0.0)
        return acts.examples.SimHit(identifier, barcode, point, MOMENTUM, MOMENTUM)
