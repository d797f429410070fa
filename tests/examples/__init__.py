"""Tests that every example and every README block runs."""
