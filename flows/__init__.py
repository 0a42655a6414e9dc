"""What a flow means: events, operators, graph, time, windows, state, and the engine."""
