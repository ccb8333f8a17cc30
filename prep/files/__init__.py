"""Files: read within bounds, checked for shape, digested, appended to, held unsafe."""
