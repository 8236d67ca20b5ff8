"""RADIUS at the edge: the same passes that open the door decide who may use the Wi-Fi."""
