"""scikit-learn's MLPClassifier: the mlp without its norms, and with weights of its own, so that nothing is compared but time."""

from __future__ import annotations

import numpy as np
from sklearn.neural_network import MLPClassifier

from . import Contender, Makers
from .cases import CLASSES, LR, MOMENTUM, Case


def train(case: Case) -> Makers:
    return {"sklearn (no norm)": lambda: step(case)} if case.net == "mlp" else {}


def step(case: Case) -> Contender:
    x, y = case.data()
    model = MLPClassifier(
        (128, 128),
        solver="sgd",
        alpha=0.0,
        batch_size=case.batch,
        learning_rate_init=LR,
        momentum=MOMENTUM,
        nesterovs_momentum=False,
        random_state=0,
    )
    model.partial_fit(x, y, classes=np.arange(CLASSES))
    return Contender(lambda: model.partial_fit(x, y), lambda model: float(model.loss_))


def infer(case: Case) -> Makers:
    return {}
