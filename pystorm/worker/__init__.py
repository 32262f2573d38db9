"""One worker process: event loop, executors, router, channels, wire format, ack ledger, barrier aligner."""
