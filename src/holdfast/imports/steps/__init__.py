"""The steps of imports, a file per thing that is stepped on: originals, parts, the machine. Each beside its reverse."""
