"""What members are handed so that their devices come onto the Wi-Fi by themselves."""
