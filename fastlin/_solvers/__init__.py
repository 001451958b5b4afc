"""The solvers of `fastlin.minimize`.

choice           which solver fits what, and what is common to them
problem          what a solver sees of a fit: a function of a flat x, its gradient, and products with its Hessian
memory           what a solver must remember to go on from where it stands
lbfgs, owlqn, newton, newton_cholesky, smoothed   a method each
pairs            what L-BFGS remembers
bases            one change of basis after the other, for L-BFGS
whitened, scaled columns of X that are uncorrelated, or of one scale
linalg           products and factors of square matrices
vectors          what is done with long vectors
"""
