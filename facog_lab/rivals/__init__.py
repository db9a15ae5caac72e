"""Other people's methods, one a file: oversamplers, losses, heads, whole networks."""
