"""HTTP and nothing of ours to say: sockets, routes, admission, decoding, replies once per key, streams."""
