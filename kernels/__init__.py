"""The kernels, one module per backend; see fastlin/ops.py for what each function promises."""

if __name__ != "fastlin.kernels":
    raise ImportError("this folder is the package fastlin.kernels: import it by that name")
