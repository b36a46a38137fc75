"""The fraud score of a payment: features, forest, training, registry."""
