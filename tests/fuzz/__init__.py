"""Every public function under random input, good and hostile, and the laws that must hold for each answer and refusal.

specs.py       what an example is made of: values written in a line of Python, so that a failure can be typed in again
strategies.py  how they are drawn: what is good for an argument, what is strange, and what must be refused
harness.py     a row for each function; one call, and what every call must keep
laws.py        what else an answer must keep;  exact.py: how far it may lie from the naive backend's in float64
rows_*.py      THE TABLE: name -> arguments -> laws;  table.py has all, and the names without a row
files.py       damaged files, and hostile ones;  worker.py reads them in a process of its own
test_*.py      a bounded, repeatable share of all this, as part of `make test`
__main__.py    `make fuzz`: an hour of it, in child processes that may crash
"""
