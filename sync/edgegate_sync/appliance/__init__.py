"""The appliance's side of the sync."""
