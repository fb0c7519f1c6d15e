"""Kernels that make problems, in a folder of their own: compiled code is kept by folder."""
