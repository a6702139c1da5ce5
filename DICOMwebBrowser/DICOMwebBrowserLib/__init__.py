"""The parts of the DICOMweb browser: its window, and the wiring between the window, Slicer and the worker process.

``session`` holds all that outlives a window: the worker, the transfers, what was found. The panels show it. Everything
that takes time happens in the worker (:mod:`dicombridge.web.worker`); nothing here waits.
"""
