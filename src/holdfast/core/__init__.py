"""Words that every room shares: ids, clock, errors, units, tags. No I/O, no imports of other rooms."""
