"""Everything secret: the keys of the program, what is sealed with them, and the credentials of merchants."""
