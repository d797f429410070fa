"""The tests, a folder a layer; a package, so that spawned children can import what tests define."""
