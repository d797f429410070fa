"""Tests of the Python modules, one file a module."""
