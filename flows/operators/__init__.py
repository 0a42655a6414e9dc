"""What each operator does: a frozen description, and the state machine that it builds."""
