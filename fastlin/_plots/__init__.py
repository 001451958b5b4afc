"""Pictures, drawn with matplotlib (an extra): a file for each public module that has one."""
