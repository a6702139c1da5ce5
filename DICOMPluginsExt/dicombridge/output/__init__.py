"""What the export halves of all kinds share.

======= ========================================================================
source  node -> the images and the grid that it belongs to
volumes volume node -> its voxels, where its transforms put them
header  the attributes that objects of all kinds share
frames  functional groups of multi-frame objects, encoded at once
tiles   the same on a slide: voxels as tiles of its total pixel matrix
files   the file itself, front to back; several files, all or none of them
======= ========================================================================
"""
