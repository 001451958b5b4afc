# Optimizer steps for Cython, included by cython_ops.pxi. Scalars become the arrays' type first, or one double factor
# would make every product double.

def sgd_update(floating[::1] w, const floating[::1] g, double lr, double weight_decay):
    cdef floating rate = <floating> lr
    cdef floating decay = <floating> weight_decay
    cdef Py_ssize_t i
    with nogil:
        for i in range(w.shape[0]):
            w[i] -= rate * (g[i] + decay * w[i])


def momentum_update(
        floating[::1] w, const floating[::1] g, floating[::1] v, double lr, double momentum, double weight_decay):
    cdef floating rate = <floating> lr
    cdef floating mu = <floating> momentum
    cdef floating decay = <floating> weight_decay
    cdef Py_ssize_t i
    with nogil:
        for i in range(w.shape[0]):
            v[i] = mu * v[i] + (g[i] + decay * w[i])
            w[i] -= rate * v[i]


def nesterov_update(
        floating[::1] w, const floating[::1] g, floating[::1] v, double lr, double momentum, double weight_decay):
    cdef floating rate = <floating> lr
    cdef floating mu = <floating> momentum
    cdef floating decay = <floating> weight_decay
    cdef floating gradient
    cdef Py_ssize_t i
    with nogil:
        for i in range(w.shape[0]):
            gradient = g[i] + decay * w[i]
            v[i] = mu * v[i] + gradient
            w[i] -= rate * (gradient + mu * v[i])


def adam_update(
        floating[::1] w, const floating[::1] g, floating[::1] m, floating[::1] v, long long t,
        double lr, double beta1, double beta2, double eps, double weight_decay):
    cdef floating rate = <floating> (lr / (1.0 - beta1 ** t))
    cdef floating unbias = <floating> (1.0 / (1.0 - beta2 ** t))
    cdef floating b1 = <floating> beta1
    cdef floating b2 = <floating> beta2
    cdef floating rest1 = <floating> (1.0 - beta1)
    cdef floating rest2 = <floating> (1.0 - beta2)
    cdef floating small = <floating> eps
    cdef floating decay = <floating> weight_decay
    cdef floating gradient
    cdef Py_ssize_t i
    with nogil:
        for i in range(w.shape[0]):
            gradient = g[i] + decay * w[i]
            m[i] = b1 * m[i] + rest1 * gradient
            v[i] = b2 * v[i] + rest2 * gradient * gradient
            w[i] -= rate * m[i] / ((sqrtf(v[i] * unbias) if floating is float else sqrt(v[i] * unbias)) + small)
