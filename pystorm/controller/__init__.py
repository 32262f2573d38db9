"""One per running topology: starts workers, watches them, drives checkpoints and recovery."""
