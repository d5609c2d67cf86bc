"""Download public datasets. This is the only package of segtrain that opens network connections.

`sources` lists the datasets; `connection`, `transfer` and `fetch` download a file; `decompress`, `tar` and `extract`
unpack it; `install` runs the steps in order.
"""
