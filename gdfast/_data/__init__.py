"""From the arrays, tables and frames of a user to the arrays that kernels take."""
