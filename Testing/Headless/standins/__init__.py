"""Stand-ins for the parts of Slicer and CTK that no wheel has, as strict as the real ones where code goes wrong."""
