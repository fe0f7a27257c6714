# Compiled fronts of functional's batch norm and of its layer: the call that needs no conversion
# and no explanation goes from its caller to C without a Python function in between. Everything
# else goes to that function, which stands behind the front.

cdef extern from "Python.h":
    object PyObject_GenericGetDict(object, void*)
    PyObject* PyDict_GetItemWithError(object, object) except? NULL

cdef bint in_force = False
cdef dict behind = {}


def set_in_force(bint value):
    """Whether fronts may compute: only while this is the backend in force."""
    global in_force
    in_force = value


def front(function):
    """The compiled front of a function or method: same signature, name and text."""
    behind[function.__qualname__] = function
    return _update_wrapper(fronts[function.__qualname__], function)


def _batch_norm(
    x, weight=None, bias=None, running_mean=None, running_var=None, *, training=True, momentum=0.1,
    eps=1e-5, axis=1, activation=None, residual=None, unbiased=True, mask=None, out=None
):
    cdef NormSaved saved
    if in_force and mask is None and (activation is None or activation == "relu"):
        try:
            saved = begin(x, axis, None, False)
            if training:
                return train(
                    saved, weight, bias, residual, running_mean, running_var, momentum, eps,
                    unbiased, activation is not None, out
                ), saved
            return evaluate(
                saved, weight, bias, residual, running_mean, running_var, eps,
                activation is not None, out
            ), saved
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
    cdef NormSaved saved
    if in_force and mask is None and training and (activation is None or activation == "relu"):
        try:
            saved = begin(x, axis, None, True)
            return train_renorm(
                saved, weight, bias, residual, running_mean, running_std, momentum, eps, r_max,
                d_max, activation is not None, out
            ), saved
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


cdef inline object own(object attributes, str name):
    """An attribute of the layer's own, not of its class."""
    cdef PyObject* value = PyDict_GetItemWithError(attributes, name)
    if value == NULL:
        raise Refused
    return <object>value


cdef object plain_forward(object attributes, object x, object residual, object activation):
    """y of a layer without options that change the way of the statistics."""
    if own(attributes, "_plain") is not True or own(attributes, "zero_debias") is not False:
        raise Refused
    mean, var = own(attributes, "running_mean"), own(attributes, "running_var")
    own_activation = own(attributes, "activation")
    if own_activation is not None:
        activation = own_activation
    if mean is None or (activation is not None and activation != "relu"):
        raise Refused
    cdef bint relu = activation is not None
    cdef bint batch = (
        own(attributes, "training") is True and own(attributes, "frozen") is False
    )
    weight, bias = own(attributes, "weight"), own(attributes, "bias")
    eps, axis = own(attributes, "eps"), own(attributes, "axis")
    keeps = own(attributes, "keeps")  # all that may be missing is asked for before the update
    cdef NormSaved saved = begin(x, axis, None, False)
    if batch:
        tracked = own(attributes, "num_batches_tracked") + 1
        y = train(
            saved, weight, bias, residual, mean, var, own(attributes, "momentum"), eps,
            own(attributes, "unbiased"), relu, None
        )
        if cnp.PyArray_SIZE(<Array>y):
            attributes["num_batches_tracked"] = tracked
    else:
        y = evaluate(saved, weight, bias, residual, mean, var, eps, relu, None)
    if keeps:
        attributes["_saved"] = saved
    return y


def _batch_norm_layer(self, x, residual=None, activation=None, mask=None):
    if in_force and mask is None:
        try:
            return plain_forward(PyObject_GenericGetDict(self, NULL), x, residual, activation)
        except (Refused, TypeError, OverflowError):
            pass
    return behind["BatchNorm.forward"](self, x, residual, activation, mask)


cdef dict fronts = {
    "BatchNorm.forward": _batch_norm_layer,
    "batch_norm": _batch_norm,
    "batch_norm_backward": _batch_norm_backward,
    "batch_renorm": _batch_renorm,
}
