"""Kills runs of flows with SIGKILL, starts them again, and counts what was lost: `make crash`."""
