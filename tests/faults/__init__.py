"""Tests of deaths, damage and exhaustion."""
