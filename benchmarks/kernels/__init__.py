"""Kernels beside the best library for the same work: a module each, with a function `measure`."""
