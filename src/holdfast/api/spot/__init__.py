"""Spot's stateful-node routes at the URL root, with its envelope, codes and aliases (spot-stateful-node-api.md)."""
