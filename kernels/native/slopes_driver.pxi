# The slopes of all rows and a loss, by a team of threads; slopes_driver in kernels/drivers.py is that for one thread.
# Uses common.pxi, storages.pxi, csr.pxi (Turn), losses.pxi (Epilogue) and loss_driver.pxi (LossJob).
#
# It is the second phase of a loss with its gradient, where a block's slopes are kept instead of a gradient. The parts
# are the same, and so are the bits of the loss.

cdef class SlopesKernel:
    cdef Scores scores_of
    cdef Epilogue epilogue
    cdef Turn turn

    def __call__(self, X, ndarray W, ndarray y, ndarray sample_weight, tuple hyper, ndarray scores, ndarray sums,
                 ndarray losses, ndarray slopes, int first_part, int last_part, Py_ssize_t chunk, Py_ssize_t chunks,
                 int threads):
        cdef LossJob job
        cdef team_job team
        cdef bint single = is_single(W)
        job.scores_of = <scores_t> fn_of(self.scores_of, single)
        job.epilogue = <epilogue_t> fn_of(self.epilogue, single)
        job.gradient = <gradient_t> fn_of(self.turn, single)
        read_hyper(self.epilogue, hyper, job.hyper)
        self.scores_of.storage.describe(X, single, &job.X)
        job.y, job.y_step, job.sample_weight = PyArray_BYTES(y), target_bytes(y), PyArray_BYTES(sample_weight)
        job.row_buffer = Workspace(PyArray_BYTES(slopes), 0, stride_of(slopes))  # one for all parts
        job.scores = workspace_of(scores)
        job.parts = Workspace(PyArray_BYTES(sums), PyArray_STRIDE(sums, 0), 0)
        job.part_bytes = PyArray_DIM(sums, 1) * PyArray_ITEMSIZE(W)
        job.losses = <double *> PyArray_DATA(losses)
        job.weights = PyArray_BYTES(W)
        job.sizes = Sizes(
            PyArray_DIM(W, 0), PyArray_DIM(W, 1), job.row_buffer.stride, stride_of(W), job.scores.stride, 0, NULL)
        job.n, job.block = PyArray_DIM(sample_weight, 0), PyArray_DIM(scores, 2)
        job.itemsize, job.count = PyArray_ITEMSIZE(W), item_count(PyArray_DIM(losses, 0))
        job.chunk, job.chunks = chunk, chunks
        job.first_part, job.last_part, job.first_phase = first_part, last_part, 1
        team.work, team.context = do_loss_item, &job
        team.rounds = team.phases = 1
        team.items[0] = last_part - first_part
        team.threads = threads
        with nogil:
            team_run(&team)


def slopes_driver(Scores scores, Epilogue epilogue, Turn turn):
    cdef SlopesKernel kernel = SlopesKernel()
    kernel.scores_of, kernel.epilogue, kernel.turn = scores, epilogue, turn
    return kernel
