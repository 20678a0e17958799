"""The encoder: Image -> Fit -> QuantizedModel -> bytes. JAX is imported when a picture is encoded."""

from dfmcodec.encoder.config import RECIPES, EncoderConfig, Recipe
from dfmcodec.encoder.encode import EncodeReport, EncodeResult, encode_image
from dfmcodec.encoder.job import Progress

__all__ = ["RECIPES", "EncodeReport", "EncodeResult", "EncoderConfig", "Progress", "Recipe", "encode_image"]
