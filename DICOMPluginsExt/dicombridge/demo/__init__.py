"""A phantom study made on the spot, and the tour of the library that ``dicombridge demo`` gives with it."""
