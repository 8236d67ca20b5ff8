"""Drivers of edgegate: one module for each, named as the configuration names it."""
