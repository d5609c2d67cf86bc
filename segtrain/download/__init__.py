"""Public datasets from their archives to a folder: the one part of segtrain that touches a network.

sources names what there is; connection, transfer and fetch bring a file; decompress, tar and extract unpack it; install
keeps the order.
"""
