"""Plain Python functions of a row, run on columns where that gives the same to the last bit."""
