"""Files.

store     named values in an .npz or .safetensors file, and any file written whole or not at all
npz       the arrays of .npy and .npz files, read without pickle and without trust
pickled   the pickles of CIFAR-10, read without `pickle`
sparse    sparse rows as scipy.sparse.save_npz writes them
"""
