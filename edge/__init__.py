"""Where flows run: the command line, and later nodes, hub, placement and failover."""
