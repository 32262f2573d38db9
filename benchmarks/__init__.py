"""Benchmarks of pystorm: workloads, a hand-written yardstick without a framework, and what is measured against it.

In reading order: `workload` (what is counted), `floor` (the yardstick), `measure` (medians, tables, machine facts),
`launch` (runs pystorm through its command line), `wordcount`, `latency`, `recovery`, `checkpoint`, `startup` (one
measurement each), `__main__` (the command `bin/bench`). `topologies/` holds what pystorm runs.
"""
