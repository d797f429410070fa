"""Measures interproc against its peers; nothing here is imported by interproc itself."""
