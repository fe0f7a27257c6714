"""Reference nets: small ones that train on a CPU in seconds to minutes, each with and without norms.

They return ordinary containers. A convolution or Linear before a norm that would remove its bias has none, and its
ReLU is part of the norm. ``axis=-1`` builds the same net for channels-last images; its parameters have the same shapes.
"""

from .cnn import cnn
from .inception_small import inception_small
from .mlp import mlp
from .norms import NORMS
from .recurrent import recurrent
from .resnet20 import resnet20
from .separable import separable

__all__ = ["NORMS", "cnn", "inception_small", "mlp", "recurrent", "resnet20", "separable"]
