"""What people see of a running topology.

Reading order: format (numbers and tables), rates, lines and summary (a run as text), stream (writing that never waits),
console (which display fits), live (the one for terminals).
"""
