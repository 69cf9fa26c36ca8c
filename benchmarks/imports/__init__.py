"""How long an import takes, what it asks of the cloud, and how many go at once."""
