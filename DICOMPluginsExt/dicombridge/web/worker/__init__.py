"""The worker: DICOMweb in a process of its own, for programs whose main thread must not wait.

``python -m dicombridge.web.worker`` speaks the lines that :mod:`dicombridge.web.worker.protocol` describes;
:mod:`dicombridge.web.worker.client` is the other end. The parts: ``serving`` reads and answers, ``scheduling`` says
who goes first, ``handlers`` calls the engine, ``jobs`` keeps the job list on disk.
"""
