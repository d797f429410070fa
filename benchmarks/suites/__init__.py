"""The rows of each script, and the processes that make a run of them."""
