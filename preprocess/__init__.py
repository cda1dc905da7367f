"""Preprocessing, written once: the client arms, the served models and the tests all import it."""
