"""Measurements, apart from tests. Each compares with a peer, or with the thing's own floor, in the same run."""
