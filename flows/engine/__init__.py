"""The engine: runs the operators of a graph over batches."""
