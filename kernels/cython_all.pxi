# All that an extension holds, for whichever instruction set it is compiled.
include "cython_ops.pxi"  # the loops of the losses
include "cython_driver.pxi"  # what Python sees of them, and a loss with its gradient
include "cython_wide.pxi"  # the epilogue of many columns of scores
include "cython_search.pxi"  # losses of many W
include "cython_updates.pxi"  # the loops of the optimizers
include "cython_steps.pxi"  # what Python sees of them, and a step
include "cython_epoch.pxi"  # whole epochs
