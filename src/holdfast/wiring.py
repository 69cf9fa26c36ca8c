"""The only place where clock, store, engine, clouds and features meet; alone reads environment and files."""
