"""What Linux offers below Python: holes, page cache, memory compare, locks, child processes."""
