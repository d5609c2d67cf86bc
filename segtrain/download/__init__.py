"""Public datasets from their archives to a folder: the one part of segtrain that touches a network.

sources names what there is, transfer and fetch bring a file, tar and extract unpack it, install keeps the order.
"""
