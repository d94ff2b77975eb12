"""Network parts: dense layers, position encoding, encoder, decoder, matching, losses."""

from hitpool.nn.ambiguity import AmbiguityResolution
from hitpool.nn.attention import Attention
from hitpool.nn.decoder import DecoderLayerConfig, MaskFormerDecoder
from hitpool.nn.dense import Dense
from hitpool.nn.encoder import Encoder
from hitpool.nn.fourier_encoder import FourierPositionEncoder
from hitpool.nn.helix_encoder import HelixPositionEncoder
from hitpool.nn.input_net import InputNet
from hitpool.nn.maskformer import MaskFormer
from hitpool.nn.matcher import Matcher
from hitpool.nn.position_encoder import PositionEncoder

__all__ = [
    "AmbiguityResolution",
    "Attention",
    "DecoderLayerConfig",
    "Dense",
    "Encoder",
    "FourierPositionEncoder",
    "HelixPositionEncoder",
    "InputNet",
    "MaskFormer",
    "MaskFormerDecoder",
    "Matcher",
    "PositionEncoder",
]
