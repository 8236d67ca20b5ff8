"""edgegate: the check-in appliance beside a coworking space's door."""

__version__ = "0.1.0"
