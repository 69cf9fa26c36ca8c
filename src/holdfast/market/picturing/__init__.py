"""Plots of a replay, for reports. Values in, a file out; matplotlib is imported only when a plot is asked for."""
