"""Numbers of segments: a table of Slicer's Segment Statistics, or measured here, as measurement groups.

A group names its segment in the DICOM segmentation (Referenced Segment, PS3.16 TID 1411), which therefore has to exist.
The pattern is that of Slicer and dcmqi: the concept is what voxels are (attenuation coefficient), the derivation is what
was made of it (mean).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dicombridge.codes import Code, code_from_entry, modern, parse_terminology
from dicombridge.errors import DicomBridgeError, ExportError
from dicombridge.geometry import volume_geometry
from dicombridge.multiframe import read_header
from dicombridge.report import concepts
from dicombridge.report.coded import sites_of
from dicombridge.report.content import InstanceReference
from dicombridge.report.groups import Group, Measurement
from dicombridge.segmentation.arrays import image_array, label_images, own_grid, to_grid
from dicombridge.segmentation.nodes import remembered_number, segment_of_node
from dicombridge.shadow import remembered
