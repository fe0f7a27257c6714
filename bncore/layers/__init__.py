"""Layers: what owns parameters and running statistics, and the containers that make nets of them."""

from .activation import GELU, LeakyReLU, ReLU, Sigmoid, SiLU, Tanh
from .base import Layer
from .branches import Concat, Residual
from .container import Sequential
from .conv import Conv1d, Conv2d, ConvTranspose2d
from .dropout import Dropout
from .group_norm import GroupNorm
from .image_rows import ImageRows
from .init import seed
from .instance_norm import InstanceNorm
from .layer_norm import LayerNorm
from .linear import Linear
from .norm import BatchNorm
from .padding import Pad
from .parameters import Parameter
from .pooling import AvgPool, Flatten, GlobalAvgPool, GlobalMaxPool, MaxPool
from .registry import build, register
from .renorm import BatchRenorm
from .rms_norm import RMSNorm
from .rnn import GRU, LSTM, RNN
from .state import LoadReport

__all__ = [
    "GELU",
    "GRU",
    "LSTM",
    "RNN",
    "AvgPool",
    "BatchNorm",
    "BatchRenorm",
    "Concat",
    "Conv1d",
    "Conv2d",
    "ConvTranspose2d",
    "Dropout",
    "Flatten",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "GroupNorm",
    "ImageRows",
    "InstanceNorm",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LoadReport",
    "MaxPool",
    "Pad",
    "Parameter",
    "RMSNorm",
    "ReLU",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Tanh",
    "build",
    "register",
    "seed",
]
