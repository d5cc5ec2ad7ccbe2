"""conda environments without conda: read the file (pure), solve and download here, link inside the build.

Packages are strangers' archives. This machine only reads the channels' lists and stores the archives, each checked by
its hash; they are unpacked and linked in the build's container. Addresses and passwords of mirrors stay here.
"""
