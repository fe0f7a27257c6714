# Compiled fronts of functional's batch norm: the call that needs no conversion and no explanation
# goes from its caller to C without a Python function in between. Everything else goes to that
# function, which stands behind the front.

cdef bint in_force = False
cdef dict behind = {}


def set_in_force(bint value):
    """Whether fronts may compute: only while this is the backend in force."""
    global in_force
    in_force = value


def front(function):
    """The compiled front of a function of `functional`: same signature, name and text."""
    behind[function.__name__] = function
    return _update_wrapper(fronts[function.__name__], function)


def _batch_norm(
    x, weight=None, bias=None, running_mean=None, running_var=None, *, training=True, momentum=0.1,
    eps=1e-5, axis=1, activation=None, residual=None, unbiased=True, mask=None, out=None
):
    if in_force and mask is None and (activation is None or activation == "relu"):
        try:
            if training:
                return train(
                    x, weight, bias, residual, running_mean, running_var, momentum, eps, unbiased,
                    activation is not None, axis, out, None
                )
            return evaluate(
                x, weight, bias, residual, running_mean, running_var, eps, activation is not None,
                axis, out, None
            )
        except (Refused, TypeError, OverflowError):
            pass
    return behind["batch_norm"](
        x, weight, bias, running_mean, running_var, training=training, momentum=momentum, eps=eps,
        axis=axis, activation=activation, residual=residual, unbiased=unbiased, mask=mask, out=out
    )


def _batch_renorm(
    x, weight=None, bias=None, running_mean=None, running_std=None, *, training=True, r_max=3.0,
    d_max=5.0, momentum=0.01, eps=1e-5, axis=1, activation=None, residual=None, mask=None, out=None
):
    if in_force and mask is None and training and (activation is None or activation == "relu"):
        try:
            return train_renorm(
                x, weight, bias, residual, running_mean, running_std, momentum, eps, r_max, d_max,
                activation is not None, axis, out, None
            )
        except (Refused, TypeError, OverflowError):
            pass
    return behind["batch_renorm"](
        x, weight, bias, running_mean, running_std, training=training, r_max=r_max, d_max=d_max,
        momentum=momentum, eps=eps, axis=axis, activation=activation, residual=residual, mask=mask,
        out=out
    )


def _batch_norm_backward(dy, saved, *, dweight=None, dbias=None, out=None):
    if in_force and type(saved) is NormSaved:
        try:
            return gradients(dy, <NormSaved>saved, dweight, dbias, out)
        except (Refused, TypeError):
            pass
    return behind["batch_norm_backward"](dy, saved, dweight=dweight, dbias=dbias, out=out)


cdef dict fronts = {
    "batch_norm": _batch_norm,
    "batch_norm_backward": _batch_norm_backward,
    "batch_renorm": _batch_renorm,
}
