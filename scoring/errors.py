"""Errors of scoring: a model that cannot be used says why in one line."""


class ModelError(Exception):
    """A model file or a booster is not usable; the engine refuses to start with it."""
