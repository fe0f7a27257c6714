"""Optimizers: a rate, a few numbers, and state vectors as long as the net's flat vector.

One fused call per step.

The arithmetic is in ``functional.optimizer``. Weight decay leaves out gamma, beta and biases, which
the net keeps behind the first ``net.decayed`` elements of its flat vectors; ``decay_all=True``
takes them in.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import functional as F
from ..layers import Layer
from ..layers.parameters import FlatVectors, aligned_zeros
from ..support import checks

__all__ = ["SGD", "AdamW", "Optimizer", "names", "resolve"]


class Optimizer:
    """What SGD and AdamW share.

    The net they are attached to, the count of steps, the state vectors.
    """

    state_names: tuple[str, ...] = ()

    def __init__(self, lr: float, weight_decay: float, decay_all: bool) -> None:
        self.lr = checks.non_negative(lr, "lr")
        self.weight_decay = checks.non_negative(weight_decay, "weight_decay")
        self.decay_all = checks.boolean(decay_all, "decay_all")
        self.steps = 0
        self.net: Layer | None = None
        self._state: dict[str, np.ndarray] = {}

    def attach(self, net: Layer) -> None:
        """Work on this net from now on: state zero, no steps yet.

        Attached to it already, nothing changes.
        """
        parameters = net.parameters_flat
        if self.net is net and all(
            state.shape == parameters.shape for state in self._state.values()
        ):
            return
        self.net = net
        self.steps = 0
        self._state = {
            name: aligned_zeros(len(parameters), parameters.dtype) for name in self.state_names
        }

    def step(self, lr: float | None = None, flat: FlatVectors | None = None) -> None:
        """Update the net's parameters in place from its gradients.

        Parameters
        ----------
        lr : float, optional
            Rate of this step alone, as schedules give it; default ``self.lr``.
        flat : FlatVectors, optional
            The net's vectors, from a caller who knows that they are current; default
            ``net.flat_vectors()``.
        """
        if self.net is None:
            raise RuntimeError(f"{type(self).__name__} has no net yet: call attach(net) first")
        if flat is None:
            flat = self.net.flat_vectors()
        parameters = flat.parameters
        for name, state in self._state.items():
            if state.shape != parameters.shape:
                raise RuntimeError(
                    f"the net has changed since {type(self).__name__} was attached to it "
                    f"({name} has {len(state)} elements, its parameters {len(parameters)}): "
                    "attach(net) again"
                )
        decayed = len(parameters) if self.decay_all else flat.decayed
        self.steps += 1
        self._update(parameters, flat.gradients, self.lr if lr is None else lr, decayed)

    def _update(
        self, parameters: np.ndarray, gradients: np.ndarray, lr: float, decayed: int
    ) -> None:
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """``steps`` and copies of the state vectors, laid out as ``net.parameters_flat``."""
        return {"steps": self.steps, **{name: state.copy() for name, state in self._state.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`; attach the net first."""
        if self.net is None:
            raise RuntimeError(f"{type(self).__name__} has no net yet: call attach(net) first")
        expected = {"steps", *self.state_names}
        if set(state) != expected:
            raise ValueError(
                f"state must hold {', '.join(sorted(expected))}, got {', '.join(sorted(state))}"
            )
        for name, mine in self._state.items():
            given = np.asarray(state[name])
            if given.shape != mine.shape or given.dtype != mine.dtype:
                raise ValueError(
                    f"state: {name} must be {mine.dtype} {mine.shape}, got {given.dtype} "
                    f"{given.shape}"
                )
        self.steps = checks.non_negative_int(state["steps"], "steps")
        for name, mine in self._state.items():
            mine[...] = state[name]


class SGD(Optimizer):
    """Stochastic gradient descent, in PyTorch's form.

    ``g += weight_decay·p; v = momentum·v + g; p -= lr·v``

    Parameters
    ----------
    lr : float
    momentum : float
        0 to below 1.
    nesterov : bool
        ``p -= lr·(g + momentum·v)`` (Sutskever et al. 2013); needs momentum.
    weight_decay : float
    decay_all : bool
        Also decay gamma, beta and biases.
    """

    def __init__(
        self,
        lr: float = 0.1,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        *,
        decay_all: bool = False,
    ) -> None:
        super().__init__(lr, weight_decay, decay_all)
        self.momentum = checks.fraction(momentum, "momentum", below_one=True)
        self.nesterov = checks.boolean(nesterov, "nesterov")
        if self.nesterov and self.momentum == 0.0:
            raise ValueError("nesterov: needs a momentum above 0, got momentum=0")
        self.state_names = ("velocity",) if self.momentum > 0.0 else ()

    def _update(
        self, parameters: np.ndarray, gradients: np.ndarray, lr: float, decayed: int
    ) -> None:
        F.sgd_step(
            parameters,
            gradients,
            self._state.get("velocity"),
            lr=lr,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
            decayed=decayed,
        )

    def __repr__(self) -> str:
        return (
            f"SGD(lr={self.lr:g}, momentum={self.momentum:g}, nesterov={self.nesterov}, "
            f"weight_decay={self.weight_decay:g})"
        )


class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, 1711.05101), in PyTorch's form.

    Parameters
    ----------
    lr : float
    betas : (float, float)
        Rates of the averages of the gradient and of its square, 0 to below 1.
    eps : float
    weight_decay : float
    decay_all : bool
        Also decay gamma, beta and biases.
    """

    state_names = ("m", "v")

    def __init__(
        self,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        *,
        decay_all: bool = False,
    ) -> None:
        super().__init__(lr, weight_decay, decay_all)
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise ValueError(f"betas must be two numbers, got {betas!r}")
        self.betas = tuple(checks.fraction(beta, "betas", below_one=True) for beta in betas)
        self.eps = checks.non_negative(eps, "eps")

    def _update(
        self, parameters: np.ndarray, gradients: np.ndarray, lr: float, decayed: int
    ) -> None:
        F.adamw_step(
            parameters,
            gradients,
            self._state["m"],
            self._state["v"],
            lr=lr,
            beta1=self.betas[0],
            beta2=self.betas[1],
            eps=self.eps,
            weight_decay=self.weight_decay,
            step=self.steps,
            decayed=decayed,
        )

    def __repr__(self) -> str:
        return (
            f"AdamW(lr={self.lr:g}, betas={self.betas}, eps={self.eps:g}, "
            f"weight_decay={self.weight_decay:g})"
        )


_NAMED: dict[str, type[Optimizer]] = {"sgd": SGD, "adamw": AdamW}


def names() -> tuple[str, ...]:
    """The names :func:`resolve` knows."""
    return tuple(_NAMED)


def resolve(optimizer: str | Optimizer, **options: Any) -> Optimizer:
    """An optimizer from its name and arguments, or one as it is."""
    if isinstance(optimizer, str):
        if optimizer not in _NAMED:
            raise ValueError(f"optimizer must be one of {', '.join(_NAMED)}, got {optimizer!r}")
        return _NAMED[optimizer](**options)
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer must be a name, SGD(...) or AdamW(...), got {optimizer!r}")
    return optimizer
