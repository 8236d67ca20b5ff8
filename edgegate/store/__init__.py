"""What the appliance remembers: a copy of the cloud's records, and the ledger of what it did."""
