"""Pictures, drawn with matplotlib (an extra), for the public modules of the same names: compare, schedules, sweep, train."""
