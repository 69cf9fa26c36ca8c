"""Values without I/O: extents and their algebra, chunks and digests, locators, reports."""
