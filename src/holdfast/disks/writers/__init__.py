"""Where bytes go: `protocol.py` is the contract, each other file one kind of target."""
