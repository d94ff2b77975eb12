"""From PyTorch code to an ONNX graph of standard operators."""

from hitpool.export.recording import elementwise, layout, linear, operators, special
from hitpool.export.recording.graph import Graph
from hitpool.export.recording.recorder import EVENTS, HITS, Recorder, RecordError, Symbol

__all__ = ["EVENTS", "HITS", "Graph", "RecordError", "Recorder", "Symbol", "recorder"]


def recorder() -> Recorder:
    """A recorder of all functions that are known."""
    composites = {**special.COMPOSITES, **linear.COMPOSITES, **operators.COMPOSITES}
    return Recorder({**elementwise.FUNCTIONS, **layout.FUNCTIONS}, composites)
