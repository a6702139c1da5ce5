"""Structured reports (SR, PS3.3 A.35; templates of PS3.16) as text, tables and markups, and back.

=================  ==================================================================
examine            what can be loaded
trees              content trees as datasets: the root item, a walk over the items
content            dataset -> content tree, by a tolerant walk
readable           content tree -> readable outline, and rows of a table
concepts           the codes by which items are found
groups             what a measurement group says: plain values, the middle
recognizing        content tree -> measurement groups
placement          coordinates of groups -> patient coordinates
reading            the file -> all of the above, put together
drawings           graphic types: how a region is drawn, and what a drawing is
kept               what a node keeps of its groups
nodes              regions -> markups
sheets             groups -> table
loading            the load half, put together
measuring          geometry -> measurements
markup_regions     markups -> regions
image_coordinates  patient coordinates -> columns and rows of the image in which a region lies
statistics         segments -> groups with their numbers
contents           nodes -> groups that can be written
regrouping         the nodes of one group -> that group
items              content items as datasets
template           groups -> content of a measurement report
cornerstone        the same, as viewers of Cornerstone3D take it up
table_edits        what was edited in the table of a loaded document
editing            a loaded document, and what was changed in it
evidence           which instances a document refers to
encoding           a content tree as bytes
exporting          the export half, put together
=================  ==================================================================
"""

from __future__ import annotations

from dicombridge.report.examine import examine
from dicombridge.report.exporting import export
from dicombridge.report.kept import nodes_of_group
from dicombridge.report.loading import load

__all__ = ["examine", "export", "load", "nodes_of_group"]
