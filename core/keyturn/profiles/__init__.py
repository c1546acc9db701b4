"""The joined view of a profile: shared files, managed definition and index, with its status."""
