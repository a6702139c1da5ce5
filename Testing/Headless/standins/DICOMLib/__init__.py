"""A stand-in for Slicer's DICOMLib: two classes under their own names, and the functions of DICOMUtils."""

from DICOMLib import DICOMUtils  # noqa: F401 - a module, beside its functions
from DICOMLib.DICOMPlugin import *  # noqa: F403 - as the real package does; DICOMPlugin is then the class
from DICOMLib.DICOMUtils import *  # noqa: F403 - as the real package does
