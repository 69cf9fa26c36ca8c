"""Disk image formats as bytes: headers parsed for intake, and the layouts that we write ourselves."""
