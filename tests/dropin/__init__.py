"""Behaviour that multiprocessing defines, tested on multiprocessing itself and on interproc."""
