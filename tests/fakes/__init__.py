"""Working in-memory doubles, shared by all tests: `from fakes.cloud import FakeCloud`."""
