"""The NBD client, and the caged servers that read image formats for us.

Protocol: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md
"""
