"""The encoder: Image -> fit -> QuantizedModel -> bytes.

The encoder of the latent model is NumPy. JAX is imported only by `encoder.fitted`,
`encoder.coordinate` and `encoder.generative`, when an image is encoded with one of these models.
"""

from dfmcodec.encoder.config import RECIPES, EncoderConfig, Recipe
from dfmcodec.encoder.encode import encode_image
from dfmcodec.encoder.job import Progress
from dfmcodec.encoder.report import EncodeReport, EncodeResult

__all__ = ["RECIPES", "EncodeReport", "EncodeResult", "EncoderConfig", "Progress", "Recipe", "encode_image"]
