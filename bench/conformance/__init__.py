"""The conformance kit: what an authorization host shows to the outside, checked over TCP."""
