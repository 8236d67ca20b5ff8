"""EAP, the conversation by which a device proves over RADIUS who it is (RFC 3748, RFC 3579)."""
