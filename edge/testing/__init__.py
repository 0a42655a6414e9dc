"""The test kit: flows run in a test, fed by hand, in virtual time."""
