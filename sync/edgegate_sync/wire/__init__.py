"""What crosses the wire between an appliance and its cloud: types, codecs, limits."""
