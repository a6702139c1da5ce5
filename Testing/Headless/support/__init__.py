"""Helpers of the headless tests."""
