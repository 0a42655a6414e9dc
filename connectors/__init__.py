"""How data gets in, out and across."""
