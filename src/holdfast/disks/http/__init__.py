"""The HTTP client of the network ends: persistent connections, many requests in flight, retries in one place."""
