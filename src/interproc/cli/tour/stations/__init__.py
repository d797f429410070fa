"""The stations of the tour, a file each; one is added by adding a file that has a STATION."""
