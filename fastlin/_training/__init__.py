"""The training runs of `fastlin.train`.

training   a run: what it is given, where it stands after each epoch, and how that becomes a state
epoch      every row once, in batches
windows    the same over parts, whose rows are shuffled within windows of some of them
lazy       steps over sparse rows that touch the batch's columns alone
resume     the state of a run, checked whole before it goes on
"""
