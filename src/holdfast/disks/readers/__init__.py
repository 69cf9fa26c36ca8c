"""Where bytes come from: `protocol.py` is the contract, each other file one kind of source."""
