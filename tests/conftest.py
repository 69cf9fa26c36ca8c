"""Being here puts `tests/` on the import path: any test may say `from fakes.cloud import FakeCloud`."""
