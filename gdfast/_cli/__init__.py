"""The command `gdfast`."""
