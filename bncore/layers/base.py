"""What every layer has: modes, children, parameters, state, errors that carry its path.

No computation and no parameters of its own; the flat vectors are in parameters.py, state dicts in state.py.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ..support import checks
from .parameters import FlatVectors, Parameter, layer_parameters
from .state import LoadReport, load_state, save_state

__all__ = ["Array", "Layer", "locate"]

Array = npt.NDArray[Any]
_Self = TypeVar("_Self", bound="Layer")


class Layer:
    """Base class of all layers; subclass it to write your own.

    A subclass defines ``forward(x)`` and ``backward(dy)``. ``layer(x)`` is ``forward(x)`` itself, without
    anything around it. A layer holds what its last forward saved, so one object stands at one place of one net.

    Declare arrays by name, and set them as attributes:

    * ``parameter_names``: trained. The gradient of ``weight`` is ``weight_grad``; backward overwrites it, with
      `set_grad` or by writing into it. Name in ``decayed_names`` those that weight decay applies to.
    * ``buffer_names``: not trained, but part of the state dict (arrays, or ints, which are saved as int64).

    A layer with norms inside it, as its `children`, also defines ``forward_through(x, call)``, so that what they receive
    can be measured (`bncore.recalibrate`, `bncore.diagnose`): y in evaluation mode, with ``call(name, child, rows)`` in
    place of each norm's forward. ``call`` may return None, "not known yet"; then the result is None, after all norms
    were asked whose rows do not depend on that. `LSTM` is an example.

    Examples
    --------
    >>> class Scale(Layer):
    ...     parameter_names = ("scale",)
    ...     def __init__(self):
    ...         self.scale = np.ones(1, np.float32)
    ...     def forward(self, x):
    ...         self.save(x)                      # keeps nothing in evaluation
    ...         return self.scale * x
    ...     def backward(self, dy):
    ...         x = self.take_saved()
    ...         self.set_grad("scale", [np.vdot(dy, x)])
    ...         return self.scale * dy
    """

    parameter_names: tuple[str, ...] = ()
    decayed_names: tuple[str, ...] = ()
    buffer_names: tuple[str, ...] = ()

    training: bool = True
    keeps: bool = True  # whether forward keeps what backward needs
    input_gradient: bool = True  # whether backward must return dx
    _saved: Any = None
    _flat: FlatVectors | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        # layer(x) costs no extra Python frame: __call__ is looked up on the type, so it can be forward itself
        super().__init_subclass__(**kwargs)
        cls.__call__ = cls.forward  # type: ignore[method-assign]

    def forward(self, x: Array) -> Array:
        """y from x. In evaluation mode nothing on ``self`` is written."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(x)")

    def backward(self, dy: Array) -> Any:
        """dx from dy, for the last forward: a new array, or dy itself. Parameter gradients are overwritten.

        None where `require_input_gradient` says that nobody needs dx; (dx, dresidual) after a forward with a residual.
        """
        raise NotImplementedError(f"{type(self).__name__} must define backward(dy)")

    def __call__(self, x: Array, *args: Any, **kwargs: Any) -> Array:
        return self.forward(x, *args, **kwargs)

    # ---- what forward leaves for backward

    def save(self, value: Any) -> None:
        """Keep ``value`` (not None) for backward, if the mode asks for it."""
        if self.keeps:
            self._saved = value

    def take_saved(self) -> Any:
        """What the last forward saved; it is handed out once, so that memory is free as soon as it was used."""
        saved = self._saved
        if saved is None:
            raise RuntimeError(
                "backward() needs a forward() before it, one each, in training mode or after eval(backward=True)"
            )
        self._saved = None
        return saved

    def set_grad(self, name: str, value: npt.ArrayLike) -> None:
        """Overwrite the gradient of one parameter, inside the flat vector if there is one."""
        self._gradient(name)[...] = value

    def _gradient(self, name: str) -> Array:
        """The array that holds one gradient; made on first use, outside training loops that pack their net."""
        gradient: Array | None = getattr(self, name + "_grad", None)
        if gradient is None:
            gradient = np.zeros_like(getattr(self, name))
            setattr(self, name + "_grad", gradient)
        return gradient

    # ---- modes

    def train(self: _Self, mode: bool = True) -> _Self:
        """Training mode (or, with False, `eval`) for this layer and all below."""
        if not mode:
            return self.eval()
        self._set_mode(True, True)
        return self

    def eval(self: _Self, backward: bool = False) -> _Self:
        """Evaluation mode. Forward keeps nothing, so threads may share the net, unless ``backward=True``."""
        self._set_mode(False, bool(backward))
        return self

    def _set_mode(self, training: bool, keeps: bool) -> None:
        for _, layer in self.named_layers():
            layer.training = training
            layer.keeps = keeps
            layer._saved = None

    def begin_run(self, steps: int) -> None:
        """Tell all layers that ``steps`` training batches follow: what depends on the length of a run (the schedule of
        `BatchRenorm`) is laid out for it. `fit` and a `Trainer` with ``total_steps`` do this.

        A run that goes on counts what was before: ten epochs in one go, or five, saved, loaded, and
        ``begin_run`` with the steps of the other five, have the same schedule in the second half.
        """
        steps = checks.positive_int(steps, "steps")
        for _, layer in self.named_layers():
            layer._begin_run(steps)

    def _begin_run(self, steps: int) -> None:
        """For layers to which the length of a run matters."""

    def require_input_gradient(self, required: bool = True) -> None:
        """Whether `backward` must return dx. A training loop does without: the first layer's dx is costly.

        A request, not a promise: layers that cannot save anything go on returning dx.
        """
        self.input_gradient = required

    def reseed(self, rng: np.random.Generator | int) -> None:
        """Give every layer with random numbers (dropout) its own stream, derived from ``rng``."""
        source = np.random.default_rng(rng)
        for _, layer in self.named_layers():
            if hasattr(layer, "rng"):
                layer.rng = np.random.default_rng(source.integers(0, 2**63 - 1))

    def accepts_residual(self) -> bool:
        """Whether forward also takes (residual, activation), and backward then returns (dx, dresidual)."""
        return False

    # ---- the tree

    def children(self) -> Iterable[tuple[str, Layer]]:
        """(name, layer) of the direct children; a container of your own overrides this."""
        return ()

    def named_layers(self, prefix: str = "") -> Iterator[tuple[str, Layer]]:
        """(path, layer) of this layer (path "" or ``prefix``) and all below, in the order of the forward pass."""
        yield prefix, self
        for name, child in self.children():
            yield from child.named_layers(f"{prefix}.{name}" if prefix else name)

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        """(name, parameter) of this layer and all below, named as in the state dict."""
        for path, layer in self.named_layers(prefix):
            for parameter in layer_parameters(layer):
                yield f"{path}.{parameter.name}" if path else parameter.name, parameter

    @property
    def num_parameters(self) -> int:
        """How many numbers are trained (padding of the flat vector not counted)."""
        return sum(parameter.value.size for _, parameter in self.named_parameters())

    @property
    def grad(self) -> dict[str, Array | None]:
        """This layer's own gradients by parameter name; None before the first backward."""
        return {p.name: p.gradient for p in layer_parameters(self)}

    # ---- flat vectors

    def pack(self) -> None:
        """Move all parameters into one vector and all gradients into another; attributes become views.

        Done when first needed, and again after a parameter or a child was replaced. Pack the outermost net only:
        a packed part of a net would take its parameters out of the whole's vector.
        """
        self._flat = FlatVectors(self)

    def flat_vectors(self) -> FlatVectors:
        """``parameters``, ``gradients`` and ``decayed`` together, for what reads all three at every step."""
        flat = self._flat
        if flat is None or not flat.is_current():
            self.pack()
            flat = self._flat
            assert flat is not None
        flat.collect_gradients()
        return flat

    @property
    def parameters_flat(self) -> Array:
        """All parameters, 1-D, each starting at a 64-byte border, zeros between; weight-decayed ones first."""
        return self.flat_vectors().parameters

    @property
    def gradients_flat(self) -> Array:
        """All gradients, laid out as `parameters_flat`."""
        return self.flat_vectors().gradients

    @property
    def decayed(self) -> int:
        """How many leading elements of the flat vectors take weight decay."""
        return self.flat_vectors().decayed

    # ---- state and copies

    def state_dict(self, prefix: str = "") -> dict[str, Array]:
        """Copies of all parameters and buffers, with PyTorch's names and layouts."""
        return save_state(self, prefix)

    def load_state_dict(
        self, state: Mapping[str, Any], strict: bool = True, *, cast: bool = False
    ) -> LoadReport:
        """Take over parameters and buffers: all of them, or on an error none.

        Parameters
        ----------
        state : mapping of names to arrays
            From `state_dict` or a PyTorch module's ``state_dict()``.
        strict : bool
            False: missing and unexpected names are reported, not refused. Wrong shapes always are.
        cast : bool
            Allow float64 values in a float32 net, rounded. float32 values in a float64 net are exact and always
            allowed; no other conversion is made.

        Returns
        -------
        LoadReport
            ``missing`` and ``unexpected`` names.

        Raises
        ------
        ValueError
            Listing every missing and unexpected name and every wrong shape or dtype.

        Notes
        -----
        ``num_batches_tracked`` may be absent, as in checkpoints from before PyTorch 0.4.1; the counter then stays.
        """
        return load_state(self, state, strict, cast)

    def adapt_state(self, state: dict[str, Any], prefix: str) -> None:
        """Rewrite this layer's entries, whose names begin with ``prefix``, where they come from a related layer.

        `load_state_dict` calls it with a dict of its own, before names and shapes are judged. What it cannot make
        sense of it leaves to that judgement.
        """

    def config(self) -> dict[str, Any]:
        """Constructor arguments as JSON-able values, with the class under ``"type"``; `build` reverses it."""
        raise NotImplementedError(
            f"{type(self).__name__} must define config() to be saved or rebuilt: "
            'a dict of its constructor arguments with "type" added'
        )

    @classmethod
    def from_config(cls, arguments: dict[str, Any]) -> Layer:
        """A layer from what `config` returned, less ``"type"``."""
        return cls(**arguments)

    def copy(self: _Self) -> _Self:
        """An independent net of the same values, with flat vectors of its own if this one has them."""
        twin = copy.deepcopy(self)
        if self._flat is not None:
            twin.pack()
        return twin

    def __deepcopy__(self: _Self, memo: dict[int, Any]) -> _Self:
        # views of the flat vectors become arrays of their own; what forward saved and gradients stay behind
        twin = object.__new__(type(self))
        memo[id(self)] = twin
        dropped = {"_flat", "_saved"} | {name + "_grad" for name in self.parameter_names}
        for name, value in self.__dict__.items():
            if name not in dropped:
                twin.__dict__[name] = copy.deepcopy(value, memo)
        return twin

    # ---- text

    def brief(self) -> str:
        """Class and sizes, as error messages name the layer."""
        return f"{type(self).__name__}()"

    def describe(self) -> str:
        """What stands between the parentheses in `repr`."""
        return self.brief().partition("(")[2][:-1]

    def __repr__(self) -> str:
        return "\n".join(_tree(self))


def locate(error: Exception, name: str, layer: Layer) -> None:
    """Put the path of the layer that failed in front of an error's message, outermost name first.

    Called by a container on the error's way up, ``name`` being the child it called; every container in between adds
    its part. Type, traceback and object stay; ``error.layer_path`` has the path. Only for exceptions with
    one text as argument.
    """
    if len(error.args) != 1 or not isinstance(error.args[0], str):
        return
    inner: tuple[str, str] | None = getattr(error, "_layer_error", None)
    if inner is None:
        path, text = name, f"{layer.brief()}: {error.args[0]}"
    else:
        path, text = (f"{name}.{inner[0]}" if name and inner[0] else name or inner[0]), inner[1]
    error._layer_error = (path, text)  # type: ignore[attr-defined]
    error.layer_path = path  # type: ignore[attr-defined]
    error.args = (f"{path} {text}" if path else text,)


def _tree(layer: Layer) -> list[str]:
    children = list(layer.children())
    note = _note(layer, bool(children))
    if not children:
        return [f"{type(layer).__name__}({layer.describe()}){note}"]
    lines = [f"{type(layer).__name__}({layer.describe()}{note}"]
    for name, child in children:
        first, *rest = _tree(child)
        lines.append(f"  ({name}): {first}")
        lines.extend("  " + line for line in rest)
    lines.append(")")
    return lines


def _note(layer: Layer, container: bool) -> str:
    if container:
        return f"  # {layer.num_parameters:,} parameters"
    own = list(layer_parameters(layer))
    if not own:
        return ""
    shapes = ", ".join(f"{p.name} {p.value.shape}" for p in own)
    return f"  # {shapes}: {layer.num_parameters:,} parameters"
