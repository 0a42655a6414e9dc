"""The journal of a shard: what its bytes mean, and what is decided about them, without I/O."""
