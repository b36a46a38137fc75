"""Journal stores behind one interface."""
