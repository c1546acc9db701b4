"""Pure functions from profiles and rotations to rows, columns, timeline cells and detail text."""
