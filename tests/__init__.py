"""The suite; its folders mirror the sources."""
