"""Stateful nodes: the managed identity that outlives its machines. `spec/` is what users write."""
