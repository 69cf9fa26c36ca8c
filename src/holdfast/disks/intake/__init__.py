"""Images from outside: inspected by our own code, refused by rule, and read by QEMU only in a cage."""
