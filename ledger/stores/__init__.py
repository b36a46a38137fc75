"""Journal stores behind one interface: same batch bytes, same rules, wherever they are kept."""
