"""The rule language, its compiled form and its kernels."""
