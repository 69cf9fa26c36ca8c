"""Clouds: one folder per cloud behind the small protocols of `protocols.py`.

A cloud's own words (ARM, SKU, SAS …) stop here, except for documents, which are carried through losslessly and looked
into only by the cloud's own pure functions. Nothing in here decides what is done with a machine.
"""
