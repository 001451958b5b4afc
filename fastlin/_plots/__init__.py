"""Pictures, drawn with matplotlib (an extra), for the public modules compare, schedules, sweep and train."""
