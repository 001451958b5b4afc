"""Each row of docs/lectures.md has a test of its name here, in one of the test_*.py.

rows.py          the rows of the page, and which calls each of them names
conftest.py      a row's test makes the calls that the row names
mutant_table.py  for each row what breaks the thing that it names;  mutants.py: `make mutants`, the row's test goes red
page/            what `fastlin lectures` draws
"""
