"""What is computed over `fastlin.Parts`, the class of fastlin/parts.py.

sources      where parts come from: ranges of rows of arrays and of .npy files
tables       the same for named columns: row groups of Parquet files, record batches of Arrow files
ahead        the thread that reads the next part
survey       the first look: how many rows, and which labels
reduction    what one worker computes of one part, and a sum whose bits depend on the parts alone
joined       rows of several parts, one after the other
over_parts   losses and products with the Hessian, and what a solver sees of them
predicted    predictions, and how good they are
"""
