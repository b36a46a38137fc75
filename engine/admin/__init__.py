"""The HTTP side: metrics, health and the /v1 API."""
