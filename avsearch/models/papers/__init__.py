"""The models of the papers, one readable file each."""
