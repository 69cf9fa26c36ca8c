"""NBD: how guests reach their disks. `wire` holds the protocol's numbers and packets, `server` the listener,
`connection` one client's conversation.

Spoken: fixed newstyle negotiation, structured replies with `base:allocation`, READ, WRITE, TRIM, WRITE_ZEROES, FLUSH,
FUA, many connections at once. Not spoken: TLS (the socket is a file of this home), resize, oldstyle.
"""
