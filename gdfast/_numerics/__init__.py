"""Numerics that every backend reproduces to the bit: the order of sums, the elementary functions, the penalties."""
